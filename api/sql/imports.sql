-- insert_upload --
insert into uploads (tenant_id, id, object_key, name, bytes, sha256)
values (%(tenant_id)s, %(upload_id)s, %(object_key)s, %(name)s, %(bytes)s, %(sha256)s)

-- insert_run --
-- Waits for a concurrent insert with the same key, and then does nothing.
insert into runs (
    tenant_id, id, kind, upload_id, entity, mode, created_by, idempotency_key, apply, as_of
)
values (
    %(tenant_id)s, %(run_id)s, 'import', %(upload_id)s, %(entity)s, %(mode)s, %(created_by)s,
    %(idempotency_key)s, %(apply)s, %(as_of)s
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
    uploads.deleted_at,
    clock_timestamp() as now
from runs
left join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where runs.tenant_id = %s
    and runs.id = %s

-- by_idempotency_key --
select
    runs.*,
    uploads.bytes,
    uploads.sha256,
    uploads.name,
    uploads.deleted_at,
    clock_timestamp() as now
from runs
left join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where runs.tenant_id = %(tenant_id)s
    and runs.idempotency_key = %(idempotency_key)s

-- page --
select
    runs.*,
    uploads.bytes,
    uploads.sha256,
    uploads.name,
    uploads.deleted_at,
    clock_timestamp() as now
from runs
left join uploads on uploads.tenant_id = runs.tenant_id
    and uploads.id = runs.upload_id
where runs.tenant_id = %(tenant_id)s
    and (
        %(before)s::timestamptz is null
        or (runs.created_at, runs.id) < (%(before)s, %(id)s::uuid)
    )
    and (%(state)s::text[] is null or runs.state = any(%(state)s))
    and (%(kind)s::text is null or runs.kind = %(kind)s)
    and (%(entity)s::text is null or runs.entity = %(entity)s)
    and (%(created_by)s::text is null or runs.created_by = %(created_by)s)
    and (%(since)s::timestamptz is null or runs.created_at >= %(since)s)
    and (%(until)s::timestamptz is null or runs.created_at < %(until)s)
    and (%(file)s::text is null or strpos(lower(uploads.name), lower(%(file)s)) > 0)
order by runs.created_at desc, runs.id desc
limit %(limit)s

-- cancel --
-- Waits for a worker that is about to commit; what that has applied is cancelled no more.
update runs
set
    state = 'cancelled',
    finished_at = clock_timestamp(),
    lease_until = null,
    worker = null,
    cancelled_by = %(cancelled_by)s
where tenant_id = %(tenant_id)s
    and id = %(run_id)s
    and finished_at is null

-- keep_upload --
-- Whoever deletes old uploads waits, and then finds that this one is needed.
select deleted_at
from uploads
where tenant_id = %(tenant_id)s
    and id = %(upload_id)s
for share

-- retry --
insert into runs (
    tenant_id, id, kind, upload_id, entity, mode, created_by, idempotency_key, retry_of, apply,
    as_of
)
select
    tenant_id, %(new_id)s, kind, upload_id, entity, mode, %(created_by)s, %(idempotency_key)s, id,
    apply, as_of
from runs
where tenant_id = %(tenant_id)s
    and id = %(run_id)s
on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing
