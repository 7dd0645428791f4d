-- What whoever writes CSV must know of a district, as of its transaction: gateway and workers ask alike.

-- known --
-- In the order of schemas.planning.Known. Aliases are looked up only where they will be written.
with recursive own as (
    select id, version, policy,
        coalesce(%(identifiers)s, policy ->> 'identifiers', 'hub') = 'source' as renamed
    from districts where tenant_id = %(tenant_id)s
),
-- The versions that made aliases: an index tells them one by one (pipeline/sql/aliases.sql).
made as (
    select min(version) as version from aliases where tenant_id = %(tenant_id)s
    union all
    select (
        select min(a.version) from aliases as a
        where a.tenant_id = %(tenant_id)s and a.version > m.version
    )
    from made as m where m.version is not null
),
standing as (
    select v.version from made join versions as v using (version)
    where v.tenant_id = %(tenant_id)s and v.undone_by is null and (select renamed from own)
)
select own.id, own.version, own.policy, clock_timestamp() as now,
    (
        select r.profile from runs as r
        where r.tenant_id = %(tenant_id)s and r.state = 'applied' and r.profile is not null
        order by r.version desc, r.finished_at desc limit 1
    ) as last_profile,
    array(select version from standing order by version) as standing,
    array(
        select distinct a.entity from aliases as a
        where a.tenant_id = %(tenant_id)s and a.version in (select version from standing)
        order by a.entity
    ) as aliased
from own;

-- renamed_since --
-- Whether sources have come to call records otherwise behind a version: no record tells of that.
select exists (
    select from aliases as a join versions as v using (tenant_id, version)
    where a.tenant_id = %(tenant_id)s and greatest(a.version, v.undone_by) > %(since)s
) as renamed;
