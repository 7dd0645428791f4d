-- page --
select version, kind, run_id, published_at, counts, undoes, undone_by, released_at
from versions
where tenant_id = %(tenant_id)s
    and (%(before)s::bigint is null or version < %(before)s)
order by version desc
limit %(limit)s

-- one --
select version, kind, run_id, published_at, counts, undoes, undone_by, released_at
from versions
where tenant_id = %(tenant_id)s
    and version = %(version)s

-- insert_undo --
-- Waits for a concurrent insert with the same key, and then does nothing.
insert into runs (tenant_id, id, kind, undoes, created_by, idempotency_key)
values (
    %(tenant_id)s, %(run_id)s, 'undo', %(version)s, %(created_by)s, %(idempotency_key)s
)
on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing

-- release --
-- To release again changes nothing.
update versions
set released_at = coalesce(released_at, clock_timestamp())
where tenant_id = %(tenant_id)s
    and version = %(undo)s
returning version, kind, run_id, published_at, counts, undoes, undone_by, released_at

-- origins --
-- Where versions came from. A run is kept for a year, its version for ever.
select
    versions.version,
    versions.kind,
    versions.run_id,
    versions.published_at,
    versions.undoes,
    uploads.name
from versions
left join runs on runs.tenant_id = versions.tenant_id
    and runs.id = versions.run_id
left join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where versions.tenant_id = %(tenant_id)s
    and versions.version = any(%(versions)s)
