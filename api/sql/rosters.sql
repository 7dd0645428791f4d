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
