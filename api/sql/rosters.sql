-- state --
select
    districts.version,
    coalesce(
        (
            select sum(records)
            from record_counts
            where tenant_id = %(tenant_id)s
                and entity = %(entity)s
        ),
        0
    )::bigint as total
from districts
where tenant_id = %(tenant_id)s

-- at --
-- The version that stood at an instant, and whether that is still to come.
select
    max(version) as version,
    %(moment)s::timestamptz > clock_timestamp() as future
from versions
where tenant_id = %(tenant_id)s
    and published_at <= %(moment)s

-- known_keys --
select value
from sort_keys
where tenant_id = %(tenant_id)s
    and value = any(%(values)s)

-- add_keys --
insert into sort_keys (tenant_id, value, key, folded)
select %(tenant_id)s, added.value, added.key, added.folded
from unnest(%(values)s::text[], %(keys)s::bytea[], %(folded)s::bytea[])
    as added (value, key, folded)
on conflict do nothing

-- last_before --
-- Versions are numbered in the order in which they were published.
select version
from versions
where tenant_id = %(tenant_id)s
    and published_at < %(instant)s
order by published_at desc
limit 1
