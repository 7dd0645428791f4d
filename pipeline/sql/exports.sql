-- The life of an export in PostgreSQL, told as that of a run (runs.sql): the database's clock, and the
-- fence of the claim in every statement that changes a claimed one.

-- claim --
-- The district's next export: exports change nothing, so one that pauses keeps no other waiting.
update exports set
    state = 'running', attempts = attempts + 1, fence = fence + 1, worker = %(worker)s,
    started_at = coalesce(started_at, clock_timestamp()),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s), progress = '{}'
where tenant_id = %(tenant_id)s and id = (
    select id from exports
    where tenant_id = %(tenant_id)s and (
        state = 'running' and lease_until < clock_timestamp()
        or state = 'queued' and next_run_at <= clock_timestamp()
    )
    order by state = 'running' desc, created_at, id
    limit 1
    for update skip locked
)
returning id, attempts, fence, wanted, client, schedule_id;

-- due --
-- Districts with an export to make and nobody at it (control role), the one served longest ago first.
select e.tenant_id from exports as e join districts as d using (tenant_id)
where d.deleted_at is null and (
    e.state = 'queued' and e.next_run_at <= clock_timestamp()
    or e.state = 'running' and e.lease_until < clock_timestamp()
) and not exists (
    select from exports as o
    where o.tenant_id = e.tenant_id and o.state = 'running' and o.lease_until >= clock_timestamp()
)
group by e.tenant_id
order by (select max(o.started_at) from exports as o where o.tenant_id = e.tenant_id) nulls first,
    min(e.created_at);

-- stands --
-- A look between two heartbeats.
select id from exports
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running';

-- renew --
-- The heartbeat: a longer lease, and how far the export is.
update exports set
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s), progress = %(progress)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning id;

-- hold_run --
-- Inside the transaction of an effect: the claim still stands, and nobody takes it meanwhile.
select id from exports
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
for update;

-- complete --
-- The file is whole, and from now on it is there.
update exports set
    state = 'completed', finished_at = clock_timestamp(), lease_until = null, worker = null,
    version = %(version)s, since = %(since)s, profile = %(profile)s, identifiers = %(identifiers)s,
    lens_revision = %(lens_revision)s, progress = %(progress)s, counts = %(counts)s, replaced = %(replaced)s, name = %(name)s,
    object_key = %(object_key)s, bytes = %(bytes)s, sha256 = %(sha256)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running';

-- fail --
update exports set
    state = 'failed', finished_at = clock_timestamp(), lease_until = null, worker = null,
    failure = %(failure)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running';

-- release --
-- Something was away; try again after a pause. An attempt that was only asked to stop does not count.
update exports set
    state = 'queued', lease_until = null, worker = null, attempts = attempts - %(refund)s::integer,
    next_run_at = clock_timestamp() + make_interval(secs => %(pause)s)
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning id;

-- last_of_schedule --
-- The version that the last export of the schedule has shown, as long as it asked for the same.
select version from exports
where tenant_id = %(tenant_id)s and schedule_id = %(schedule_id)s and state = 'completed'
  and wanted = %(wanted)s and lens_revision is not distinct from %(lens_revision)s
order by version desc limit 1;

-- lens --
-- What a client may see, as long as it may see anything.
select lens, lens_revision from clients
where tenant_id = %(tenant_id)s and id = %(client)s and enabled;

-- totals --
-- How many records there are, where nobody must count them.
select entity, records from record_counts
where tenant_id = %(tenant_id)s and status = 'active';

-- codes --
-- What the file may be named after: the active orgs that are schools or districts.
select type, identifier from orgs
where tenant_id = %(tenant_id)s and status = 'active' and (
    type = 'district'
    or type = 'school' and (%(schools)s::text[] = '{}' or sourced_id = any(%(schools)s))
);

-- recall --
-- Nothing that was written so far is to be had any more: files that are there count as deleted, and
-- what is being written is written anew, from what the roster says then.
update exports set
    state = case when state = 'running' then 'queued' else state end,
    fence = case when state = 'running' then fence + 1 else fence end,
    attempts = case when state = 'running' then attempts - 1 else attempts end,
    lease_until = null,
    worker = null,
    next_run_at = case when state = 'running' then clock_timestamp() else next_run_at end,
    deleted_at = case when state = 'completed' then clock_timestamp() else deleted_at end
where tenant_id = %(tenant_id)s
  and (state = 'running' or state = 'completed' and deleted_at is null);

-- expire --
-- Files that have been there long enough.
update exports set deleted_at = clock_timestamp()
where tenant_id = %(tenant_id)s and state = 'completed' and deleted_at is null
  and finished_at < clock_timestamp() - make_interval(secs => %(hours)s * 3600);

-- files_in_use --
-- The files that somebody may fetch, and the folders into which somebody writes.
select coalesce(object_key, 'exports/' || tenant_id || '/' || id || '-' || fence || '/')
from exports
where tenant_id = %(tenant_id)s
  and (state = 'running' or state = 'completed' and deleted_at is null);

-- recent --
-- Whether there may be something new to clear away.
select id from exports
where tenant_id = %(tenant_id)s and (
    state in ('queued', 'running')
    or greatest(finished_at, deleted_at) > clock_timestamp() - interval '1 hour'
)
limit 1;
