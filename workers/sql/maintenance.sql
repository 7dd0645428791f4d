-- Statements of the maintenance worker.

-- districts --
-- Every district and whether it is to go (control role).
select tenant_id, deleted_at is not null from districts order by tenant_id;

-- remove_district --
-- The last row of a district that has gone (control role).
delete from districts where tenant_id = %(tenant_id)s and deleted_at is not null;

-- remove_runs --
-- In one piece and by name, for a run that is being written meanwhile is another row afterwards.
delete from runs where tenant_id = %(tenant_id)s;

-- old_uploads --
-- Files that nobody needs any more.
select u.id, u.object_key from uploads as u
where u.tenant_id = %(tenant_id)s and u.deleted_at is null and (
    %(retention)s::double precision is null
    or not exists (
        select from runs as r
        where r.tenant_id = u.tenant_id and r.upload_id = u.id and (
            r.finished_at is null
            or r.finished_at > now() - make_interval(secs => %(retention)s)
        )
    ) and u.created_at < now() - make_interval(secs => %(retention)s)
);

-- mark_deleted --
update uploads set deleted_at = now() where tenant_id = %(tenant_id)s and id = %(id)s;
