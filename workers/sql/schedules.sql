-- What the clock asks for.

-- due --
-- Schedules whose time has come, and whose they are (control role).
select tenant_id, id from schedules where next_at <= clock_timestamp() order by next_at;

-- hold --
-- Looked at again under its lock: whoever is faster has moved it on. A deleted district wants nothing.
select s.cron, s.time_zone, clock_timestamp() as now,
    exists (
        select from exports as e
        where e.tenant_id = s.tenant_id and e.schedule_id = s.id and e.finished_at is null
    ) as busy
from schedules as s join districts as d using (tenant_id)
where s.tenant_id = %(tenant_id)s and s.id = %(id)s and s.next_at <= clock_timestamp()
  and d.deleted_at is null
for update of s skip locked;

-- ask --
-- An export for the time that has come. The index knows if there is one already.
insert into exports (tenant_id, id, wanted, client, schedule_id, due_at, created_by)
select tenant_id, %(export_id)s, wanted, client, id, next_at, created_by
from schedules where tenant_id = %(tenant_id)s and id = %(id)s
on conflict (tenant_id, schedule_id, due_at) where schedule_id is not null do nothing;

-- move_on --
update schedules set last_at = next_at, next_at = %(next_at)s
where tenant_id = %(tenant_id)s and id = %(id)s;
