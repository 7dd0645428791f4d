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
