-- Delta packages: who waits for which, and what is there (0020_packages.sql).

-- due --
-- Districts with a package to make of what is prepared (control role).
select f.tenant_id
from feed_followers as f
join feed_progress as p using (tenant_id)
join districts as d using (tenant_id)
where d.deleted_at is null and f.version < p.version
group by f.tenant_id
order by min(f.version);

-- waiting --
-- Those who see the same and have what stood before a version: they get its events with it.
select lens, demographics, profile, version, coalesce((
    select max(p.version) from feed_packages as p
    where p.tenant_id = f.tenant_id and p.lens = f.lens
        and p.demographics = f.demographics and p.profile = f.profile
), since) as since
from feed_followers as f
where tenant_id = %(tenant_id)s and lens = %(lens)s and profile = '' and version = %(before)s
order by demographics;

-- next --
-- Who is behind what is prepared: those who poll come first.
select f.lens, f.demographics, f.profile, f.version, coalesce((
    select max(p.version) from feed_packages as p
    where p.tenant_id = f.tenant_id and p.lens = f.lens
        and p.demographics = f.demographics and p.profile = f.profile
), f.since) as since
from feed_followers as f
join feed_progress as g using (tenant_id)
where f.tenant_id = %(tenant_id)s and f.version < g.version
order by f.profile <> '', f.version, f.lens, f.demographics, f.profile
limit 1;

-- keep --
insert into feed_packages (
    tenant_id, id, lens, demographics, profile, version, since, base, entries, name, object_key,
    bytes, sha256
) values (
    %(tenant_id)s, %(id)s, %(lens)s, %(demographics)s, %(profile)s, %(version)s, %(since)s,
    %(base)s, %(entries)s, %(name)s, %(object_key)s, %(bytes)s, %(sha256)s
);

-- done --
update feed_followers set version = %(version)s
where tenant_id = %(tenant_id)s and lens = %(lens)s and demographics = %(demographics)s
    and profile = %(profile)s;

-- leave --
-- Nobody sees so any more; what was made for them goes along.
delete from feed_followers
where tenant_id = %(tenant_id)s and lens = %(lens)s and demographics = %(demographics)s
    and profile = %(profile)s;

-- forget --
-- Who has not asked for so many days.
delete from feed_followers
where tenant_id = %(tenant_id)s
    and asked_at < clock_timestamp() - make_interval(days => %(days)s);

-- recall --
-- Let packages go: all of them, those that are so many days old, or those that go on from before a
-- version. Whoever has not applied them cannot go on from where they began.
with gone as (
    delete from feed_packages
    where tenant_id = %(tenant_id)s and (
        %(days)s::integer is null and %(version)s::bigint is null
        or made_at < clock_timestamp() - make_interval(days => %(days)s)
        or coalesce(since, 0) < %(version)s
    )
    returning lens, demographics, profile, version
), missing as (
    update feed_followers as f set since = greatest(f.since, g.version)
    from (
        select lens, demographics, profile, max(version) as version
        from gone group by lens, demographics, profile
    ) as g
    where f.tenant_id = %(tenant_id)s and f.lens = g.lens and f.demographics = g.demographics
        and f.profile = g.profile
)
select count(*) from gone;

-- in_use --
select object_key from feed_packages where tenant_id = %(tenant_id)s;

-- settle --
-- Whoever lets packages go waits for who makes one, and nobody makes one meanwhile.
select pg_advisory_xact_lock(hashtext('rosterhub.feed'), %(tenant_id)s);
