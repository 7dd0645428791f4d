-- insert_upload --
insert into uploads (tenant_id, id, object_key, name, bytes, sha256)
values (%(tenant_id)s, %(upload_id)s, %(object_key)s, %(name)s, %(bytes)s, %(sha256)s)

-- insert_run --
-- Waits for a concurrent insert with the same key, and then does nothing.
insert into runs (tenant_id, id, kind, upload_id, entity, mode, created_by, idempotency_key)
values (
    %(tenant_id)s, %(run_id)s, 'import', %(upload_id)s, %(entity)s, %(mode)s, %(created_by)s,
    %(idempotency_key)s
)
on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing

-- delete_upload --
delete from uploads
where tenant_id = %(tenant_id)s
    and id = %(upload_id)s

-- one --
select
    runs.*,
    uploads.bytes,
    uploads.sha256,
    uploads.name,
    clock_timestamp() as now
from runs
join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where runs.tenant_id = %s
    and runs.id = %s

-- by_idempotency_key --
select
    runs.*,
    uploads.bytes,
    uploads.sha256,
    uploads.name,
    clock_timestamp() as now
from runs
join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where runs.tenant_id = %(tenant_id)s
    and runs.idempotency_key = %(idempotency_key)s

-- page --
select
    runs.*,
    uploads.bytes,
    uploads.sha256,
    uploads.name,
    clock_timestamp() as now
from runs
join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where runs.tenant_id = %(tenant_id)s
    and (
        %(before)s::timestamptz is null
        or (runs.created_at, runs.id) < (%(before)s, %(id)s::uuid)
    )
order by runs.created_at desc, runs.id desc
limit %(limit)s

-- findings --
select seq, file, line, "column", sourced_id, rule, severity, value, facts
from findings
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
    and seq > %(after)s
    and (%(severity)s::text is null or severity = %(severity)s)
    and (%(file)s::text is null or file = %(file)s)
    and (%(rule)s::text is null or rule = %(rule)s)
order by seq
limit %(limit)s
