-- insert --
-- Waits for a concurrent insert with the same key, and then does nothing.
insert into exports (tenant_id, id, wanted, client, created_by, idempotency_key)
values (
    %(tenant_id)s, %(id)s, %(wanted)s, %(client)s, %(created_by)s, %(idempotency_key)s
)
on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing

-- one --
-- A client knows of its own. It fits while its client has the lens that it was made through.
select
    exports.*,
    clock_timestamp() as now,
    client is null or exists (
        select
        from clients
        where clients.tenant_id = exports.tenant_id
            and clients.id = exports.client
            and clients.enabled
            and clients.lens_revision = exports.lens_revision
    ) as fits
from exports
where tenant_id = %(tenant_id)s
    and id = %(id)s
    and (%(client)s::text is null or client = %(client)s)

-- by_idempotency_key --
select exports.*, clock_timestamp() as now
from exports
where tenant_id = %(tenant_id)s
    and idempotency_key = %(idempotency_key)s
    and (%(client)s::text is null or client = %(client)s)

-- page --
select exports.*, clock_timestamp() as now
from exports
where tenant_id = %(tenant_id)s
    and (
        %(before)s::timestamptz is null
        or (created_at, id) < (%(before)s, %(id)s::uuid)
    )
    and (%(client)s::text is null or client = %(client)s)
    and (%(state)s::text is null or state = %(state)s)
    and (%(schedule)s::uuid is null or schedule_id = %(schedule)s)
order by created_at desc, id desc
limit %(limit)s

-- cancel --
-- Waits for a worker that is about to finish; what is there then is cancelled no more.
update exports
set
    state = 'cancelled',
    finished_at = clock_timestamp(),
    lease_until = null,
    worker = null,
    cancelled_by = %(cancelled_by)s
where tenant_id = %(tenant_id)s
    and id = %(id)s
    and (%(client)s::text is null or client = %(client)s)
    and finished_at is null

-- client --
select id
from clients
where tenant_id = %(tenant_id)s
    and id = %(client)s

-- version --
select version
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

-- orgs --
-- Those of the named orgs that there are.
select sourced_id
from orgs
where tenant_id = %(tenant_id)s
    and sourced_id = any(%(schools)s)

-- time_zone --
select coalesce(policy ->> 'time_zone', 'Asia/Tokyo') as time_zone
from districts
where tenant_id = %(tenant_id)s
