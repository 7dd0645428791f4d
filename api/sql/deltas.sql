-- newest --
-- How far each of these is prepared (control role).
select s.tenant_id, s.lens, max(s.version) as version
from feed_sums as s
join unnest(%s::integer[], %s::text[]) as asked (tenant_id, lens) using (tenant_id, lens)
group by s.tenant_id, s.lens

-- state --
-- How far the district is, how far the feed of this lens is, and what is too old.
select
    d.version as newest,
    d.feed_epoch::text || '.' || incarnation() as epoch,
    prepared.version,
    v.published_at,
    (
        select min(o.version)
        from versions as o
        where o.tenant_id = d.tenant_id
            and o.published_at >= now() - make_interval(
                days => coalesce((d.policy ->> 'feed_days')::integer, %(days)s)
            )
    ) as oldest
from districts as d
left join lateral (
    select max(version) as version
    from feed_sums
    where tenant_id = %(tenant_id)s
        and lens = %(lens)s
) as prepared on true
left join versions as v on v.tenant_id = d.tenant_id
    and v.version = prepared.version
where d.tenant_id = %(tenant_id)s

-- sums --
select s.sums, v.published_at
from feed_sums as s
left join versions as v on v.tenant_id = s.tenant_id
    and v.version = s.version
where s.tenant_id = %(tenant_id)s
    and s.lens = %(lens)s
    and s.version = %(version)s

-- marker --
-- What the records of each entity add up to, without the sums of its schools.
select (
    select jsonb_object_agg(entity.key, entity.value -> '')
    from jsonb_each(s.sums) as entity
) as sums
from feed_sums as s
where s.tenant_id = %(tenant_id)s
    and s.lens = %(lens)s
    and s.version = %(version)s

-- in_order --
-- Parts of a statement come one after the other, and only as far as they are wanted.
select set_config('max_parallel_workers_per_gather', '0', true)

-- published --
select published_at
from versions
where tenant_id = %(tenant_id)s
    and version = %(version)s

-- former_lens --
select lens
from lens_revisions
where tenant_id = %(tenant_id)s
    and client_id = %(client)s
    and revision = %(revision)s

-- package --
-- The events of a version, written ahead for those who see the same.
select entries, object_key, bytes, sha256
from feed_packages
where tenant_id = %(tenant_id)s
    and lens = %(lens)s
    and demographics = %(demographics)s
    and profile = ''
    and version = %(version)s
    and base = %(base)s

-- packages --
select feed_packages.*, clock_timestamp() as now
from feed_packages
where tenant_id = %(tenant_id)s
    and lens = %(lens)s
    and demographics = %(demographics)s
    and profile = %(profile)s
    and version > %(version)s
order by version
limit %(limit)s

-- package_file --
-- With the lens of the client that has its address.
select p.name, p.object_key, p.bytes, p.sha256, p.lens, c.lens as seen, clock_timestamp() as now
from feed_packages as p
left join clients as c on c.tenant_id = p.tenant_id
    and c.id = %(client)s
    and c.enabled
where p.tenant_id = %(tenant_id)s
    and p.id = %(id)s

-- follower --
select since, version
from feed_followers
where tenant_id = %(tenant_id)s
    and lens = %(lens)s
    and demographics = %(demographics)s
    and profile = %(profile)s

-- follow --
insert into feed_followers (tenant_id, lens, demographics, profile, since, version)
values (
    %(tenant_id)s, %(lens)s, %(demographics)s, %(profile)s, %(version)s, %(version)s
)
on conflict do nothing

-- follows --
-- Whoever makes a package for them may hold the row for a while: then they are known to ask.
update feed_followers set asked_at = clock_timestamp()
where ctid in (
    select ctid
    from feed_followers
    where tenant_id = %(tenant_id)s
        and lens = %(lens)s
        and demographics = %(demographics)s
        and profile = %(profile)s
    for update skip locked
)
