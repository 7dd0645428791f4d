-- What a version did, prepared for every distinct lens of a district.

-- hold --
-- One worker per district; the lock ends with the transaction, so nobody is left behind it.
select pg_try_advisory_xact_lock(hashtext('rosterhub.feed'), %(tenant_id)s);

-- state --
select
    version,
    (
        select coalesce(md5(string_agg(id || ':' || lens_revision, ',' order by id)), '')
        from clients
        where tenant_id = %(tenant_id)s
    ) as lenses,
    coalesce((policy ->> 'feed_days')::integer, %(days)s) as days
from districts
where tenant_id = %(tenant_id)s;

-- due --
-- Districts with a version or a lens that is not prepared (control role).
select d.tenant_id
from districts as d
left join feed_progress as p using (tenant_id)
where d.deleted_at is null and (
    p.version is distinct from d.version
    or p.lenses is distinct from (
        select coalesce(md5(string_agg(c.id || ':' || c.lens_revision, ',' order by c.id)), '')
        from clients as c
        where c.tenant_id = d.tenant_id
    )
)
order by d.published_at nulls first;

-- lenses --
-- Enabled clients come last: what one of them sees is asked for, whoever sees the same.
select id, lens, enabled from clients where tenant_id = %(tenant_id)s order by enabled, id;

-- prepared --
-- How far each lens is.
select lens, max(version) from feed_sums where tenant_id = %(tenant_id)s group by lens;

-- instants --
select version, published_at from versions where tenant_id = %(tenant_id)s;

-- sums --
select sums from feed_sums
where tenant_id = %(tenant_id)s and lens = %(lens)s and version = %(before)s;

-- keep_sums --
insert into feed_sums (tenant_id, lens, version, sums)
values (%(tenant_id)s, %(lens)s, %(after)s, %(sums)s)
on conflict do nothing;

-- progress --
insert into feed_progress (tenant_id, version, lenses)
values (%(tenant_id)s, %(version)s, %(lenses)s)
on conflict (tenant_id) do update set version = excluded.version, lenses = excluded.lenses;

-- forget_sums --
-- The newest of a lens stays: the next version goes on from it.
delete from feed_sums as s
where tenant_id = %(tenant_id)s and made_at < now() - make_interval(days => %(days)s)
    and version < (
        select max(o.version) from feed_sums as o where o.tenant_id = s.tenant_id and o.lens = s.lens
    );

-- forget_unused --
-- Of a lens that nobody has any more.
delete from feed_sums
where tenant_id = %(tenant_id)s and made_at < now() - make_interval(days => %(days)s)
    and not (lens = any(%(tags)s));

-- forget_flips --
delete from feed_flips as f
where tenant_id = %(tenant_id)s and not exists (
    select from feed_sums as s
    where s.tenant_id = f.tenant_id and s.lens = f.lens and s.version = f.version
);

-- forget_lenses --
delete from lens_revisions
where tenant_id = %(tenant_id)s and ended_at < now() - make_interval(days => %(days)s);

-- touched --
-- Records that a version changed, and those that what it changed may have made visible or not.
create temporary table touched (
    entity text not null,
    sourced_id text collate "C" not null,
    own boolean not null,
    primary key (entity, sourced_id)
) on commit drop;

-- few_touched --
select count(*) <= %(few)s from (select from touched limit %(few)s + 1) as found;

-- tree_changed --
-- Whether an org came, or hangs elsewhere now.
select exists (
    select from (
        select sourced_id, parent_sourced_id from orgs
        where tenant_id = %(tenant_id)s and version = %(after)s
        union all
        select sourced_id, parent_sourced_id from orgs_history
        where tenant_id = %(tenant_id)s and version = %(after)s
    ) as now
    left join orgs_history as was
        on was.tenant_id = %(tenant_id)s and was.until_version = %(after)s
        and was.sourced_id = now.sourced_id
    where was.sourced_id is null
        or was.parent_sourced_id is distinct from now.parent_sourced_id
);
