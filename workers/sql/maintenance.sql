-- Statements of the maintenance worker.

-- districts --
-- Every district, whether it is to go, and what it has decided (control role).
select tenant_id, deleted_at is not null, policy from districts order by tenant_id;

-- remove_district --
-- The last row of a district that has gone (control role).
delete from districts where tenant_id = %(tenant_id)s and deleted_at is not null;

-- tables --
-- Every table with rows of a tenant that the app role may delete, and whether it hangs on runs. A
-- table refers to older ones only, so the newest comes first.
select c.relname, exists (
    select from pg_constraint as f
    where f.conrelid = c.oid and f.confrelid = 'rosterhub.runs'::regclass and f.contype = 'f'
)
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id'
where c.relnamespace = 'rosterhub'::regnamespace and c.relkind = 'r' and c.relname <> 'runs'
  and has_table_privilege(c.oid, 'delete')
order by c.oid desc;

-- remove_runs --
-- In one piece and by name, for a run that is being written meanwhile is another row afterwards.
delete from runs where tenant_id = %(tenant_id)s;

-- old_uploads --
-- Files that nobody needs any more; all of them, or whether that one is one of them.
select u.id from uploads as u
where u.tenant_id = %(tenant_id)s and u.deleted_at is null
  and (%(id)s::uuid is null or u.id = %(id)s)
  and (
    %(hours)s::double precision is null
    or not exists (
        select from runs as r
        where r.tenant_id = u.tenant_id and r.upload_id = u.id and (
            r.finished_at is null
            or r.finished_at > now() - make_interval(secs => %(hours)s * 3600)
        )
    ) and u.created_at < now() - make_interval(secs => %(hours)s * 3600)
    -- It held people who were erased: it goes with its run.
    or exists (
        select from runs as r join finding_counts as c
            on c.tenant_id = r.tenant_id and c.run_id = r.id and c.rule = 'record.erased'
        where r.tenant_id = u.tenant_id and r.upload_id = u.id
    ) and not exists (
        select from runs as r
        where r.tenant_id = u.tenant_id and r.upload_id = u.id and r.finished_at is null
    )
  );

-- hold_upload --
-- Whoever wants to import it again waits, and then sees that it is gone.
select object_key from uploads
where tenant_id = %(tenant_id)s and id = %(id)s and deleted_at is null
for update;

-- mark_deleted --
update uploads set deleted_at = now() where tenant_id = %(tenant_id)s and id = %(id)s;

-- forget_runs --
-- Some runs that ended long enough ago, except those whose version stands: what a record was, and
-- whose import made it so, is told by them.
delete from runs where tenant_id = %(tenant_id)s and id = any(array(
    select r.id from runs as r
    where r.tenant_id = %(tenant_id)s
      and r.finished_at < now() - make_interval(days => %(days)s)
      and not exists (
          select from versions as v where v.tenant_id = r.tenant_id and v.run_id = r.id
      )
    limit %(batch)s
));

-- forget_exports --
-- Some exports that ended long enough ago, and whose file is gone.
delete from exports where tenant_id = %(tenant_id)s and id = any(array(
    select e.id from exports as e
    where e.tenant_id = %(tenant_id)s
      and e.finished_at < clock_timestamp() - make_interval(days => %(days)s)
      and (e.object_key is null or e.deleted_at is not null)
    limit %(batch)s
));

-- forget_upload_rows --
-- What is left of an upload when neither its file nor its last run is there any more.
delete from uploads where tenant_id = %(tenant_id)s and id = any(array(
    select u.id from uploads as u
    where u.tenant_id = %(tenant_id)s and u.deleted_at is not null
      and not exists (
          select from runs as r where r.tenant_id = u.tenant_id and r.upload_id = u.id
      )
    limit %(batch)s
));

-- recent_run --
-- Whether there may be something new to clear away.
select id from runs
where tenant_id = %(tenant_id)s
  and (finished_at is null or finished_at > now() - interval '1 hour')
limit 1;

-- lines_in_use --
-- Known lines, and those that a running import is about to keep, by the folder they lie in.
select split_part(base, '/', 3) from known_lines where tenant_id = %(tenant_id)s
union
select split_part(patch, '/', 3) from known_lines
where tenant_id = %(tenant_id)s and patch is not null
union
select id || '-' || fence from runs where tenant_id = %(tenant_id)s and state = 'running';
