-- The life of a run in PostgreSQL. Only the database's clock counts, and every statement that
-- changes a claimed run names the fence of its claim: a stale worker changes nothing.

-- claim --
-- The district's oldest run, if it is due or its worker has gone silent: every kind of run writes its
-- district. A later one never passes an earlier one that pauses: an old package must not be applied
-- last. So claimers wait for each other at the head of the line and look again; skipping it would let
-- them pass. An import that may not supersede an older one is behind it until that is answered.
update runs set
    state = 'running', stage = 'open', attempts = attempts + 1, fence = fence + 1,
    worker = %(worker)s, started_at = coalesce(started_at, clock_timestamp()),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    progress = '{}', counts = '{}'
where tenant_id = %(tenant_id)s and id = (
    select id from (
        select r.id, r.state, r.lease_until, r.next_run_at from runs as r
        where r.tenant_id = %(tenant_id)s and r.state in ('queued', 'running') and not exists (
            select from runs as o join districts as d using (tenant_id)
            where o.tenant_id = r.tenant_id and o.state in ('review', 'held')
              and (o.created_at, o.id) < (r.created_at, r.id) and d.policy ->> 'newer' = 'wait'
              and r.state = 'queued' and r.kind = 'import' and r.decision is null
        )
        order by r.state = 'running' desc, r.created_at, r.id
        limit 1
        for update
    ) as head
    where head.state = 'running' and head.lease_until < clock_timestamp()
       or head.state = 'queued' and head.next_run_at <= clock_timestamp()
)
returning id, attempts, fence, kind, entity, mode, upload_id, undoes, decision is not null;

-- upload --
-- Where the bytes of a run lie, and what they must be.
select object_key, bytes, sha256 from uploads where tenant_id = %(tenant_id)s and id = %(upload_id)s;

-- due --
-- Districts with something to do and nobody at it (control role), the one served longest ago first:
-- who has pushed much waits behind who has not, and a new district comes next. A run that has a
-- base version waited once, and is answered; no other passes one that waits where the policy is so.
select r.tenant_id from runs as r
where (
    r.state = 'queued' and r.next_run_at <= clock_timestamp()
    or r.state = 'running' and r.lease_until < clock_timestamp()
) and not exists (
    select from runs as o
    where o.tenant_id = r.tenant_id and o.state = 'running' and o.lease_until >= clock_timestamp()
) and not (r.state = 'queued' and r.kind = 'import' and r.base_version is null and exists (
    select from runs as o join districts as d using (tenant_id)
    where o.tenant_id = r.tenant_id and o.state in ('review', 'held')
      and (o.created_at, o.id) < (r.created_at, r.id) and d.policy ->> 'newer' = 'wait'
))
group by r.tenant_id
order by (select max(o.started_at) from runs as o where o.tenant_id = r.tenant_id) nulls first,
    min(r.created_at);

-- stands --
-- A look between two heartbeats.
select id from runs
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running';

-- renew --
-- The heartbeat: a longer lease, and how far the run is.
update runs set
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    stage = %(stage)s, progress = %(progress)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning id;

-- hold_run --
-- Inside the transaction of an effect: the claim still stands, and nobody takes it meanwhile.
select id from runs
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
for update;

-- lock_district --
-- One writer at a time; answers the version that stands. `for update` would also keep every upload to
-- the district waiting, whose row refers to this one.
select version, published_at, policy from districts where tenant_id = %(tenant_id)s
for no key update;

-- add_version --
-- dateLastModified of everything this version changed: later than the last by 1 ms at least.
insert into versions (tenant_id, version, run_id, kind, undoes, published_at, counts)
select tenant_id, %(version)s, %(id)s, %(kind)s, %(undoes)s,
    greatest(
        date_trunc('milliseconds', clock_timestamp()),
        coalesce(published_at + interval '1 millisecond', '-infinity')
    ),
    %(counts)s
from districts where tenant_id = %(tenant_id)s
returning published_at;

-- note_mappings --
-- Which mapping each file was read with, whatever becomes of the run.
update runs set mappings = %(mappings)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running';

-- end_run --
update runs set
    state = %(state)s, finished_at = clock_timestamp(), lease_until = null, worker = null,
    stage = %(stage)s, profile = %(profile)s, version = %(version)s, progress = %(progress)s, counts = %(counts)s,
    findings = %(findings)s, failure = %(failure)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning id;

-- move_district --
-- The last statement before the commit: readers see the version, or nothing of it.
update districts set version = %(version)s, published_at = %(published_at)s
where tenant_id = %(tenant_id)s;

-- release --
-- Something was away; try again after a pause, without an end. An attempt that was only asked to
-- stop does not count.
update runs set
    state = 'queued', lease_until = null, worker = null, attempts = attempts - %(refund)s::integer,
    next_run_at = clock_timestamp() + make_interval(secs => %(pause)s)
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning id;
