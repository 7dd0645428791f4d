-- insert_run --
-- Waits for a concurrent insert with the same key, and then does nothing.
insert into runs (tenant_id, id, kind, created_by, idempotency_key)
values (%(tenant_id)s, %(run_id)s, 'erasure', %(created_by)s, %(idempotency_key)s)
on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing

-- insert --
insert into erasures (tenant_id, run_id, cause, users, reference, keep_out)
values (%(tenant_id)s, %(run_id)s, 'request', %(users)s, %(reference)s, %(keep_out)s)

-- one --
select
    erasures.*,
    runs.state,
    runs.stage,
    runs.created_at,
    runs.created_by,
    runs.started_at,
    runs.finished_at,
    runs.version,
    runs.failure
from erasures
join runs on runs.tenant_id = erasures.tenant_id
    and runs.id = erasures.run_id
where erasures.tenant_id = %(tenant_id)s
    and erasures.run_id = %(run_id)s

-- by_idempotency_key --
select id
from runs
where tenant_id = %(tenant_id)s
    and idempotency_key = %(idempotency_key)s

-- page --
select
    erasures.*,
    runs.state,
    runs.stage,
    runs.created_at,
    runs.created_by,
    runs.started_at,
    runs.finished_at,
    runs.version,
    runs.failure
from erasures
join runs on runs.tenant_id = erasures.tenant_id
    and runs.id = erasures.run_id
where erasures.tenant_id = %(tenant_id)s
    and (
        %(before)s::timestamptz is null
        or (runs.created_at, runs.id) < (%(before)s, %(id)s::uuid)
    )
order by runs.created_at desc, runs.id desc
limit %(limit)s

-- release --
-- To release again changes nothing. One that is still to come keeps nobody out either.
update erasures
set
    released_at = coalesce(released_at, clock_timestamp()),
    keep_out = false
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s

-- let_in --
delete from kept_out
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
