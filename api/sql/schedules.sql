-- insert --
insert into schedules (
    tenant_id, id, name, client, cron, time_zone, wanted, next_at, created_by
)
values (
    %(tenant_id)s, %(id)s, %(name)s, %(client)s, %(cron)s, %(time_zone)s, %(wanted)s, %(next_at)s,
    %(created_by)s
)
returning *

-- page --
select *
from schedules
where tenant_id = %(tenant_id)s
    and (
        %(after)s::timestamptz is null
        or (created_at, id) > (%(after)s, %(id)s::uuid)
    )
order by created_at, id
limit %(limit)s

-- one --
select *
from schedules
where tenant_id = %(tenant_id)s
    and id = %(id)s

-- hold --
-- Whoever lets it ask waits, or has moved it on already.
select *
from schedules
where tenant_id = %(tenant_id)s
    and id = %(id)s
for update

-- change --
update schedules
set
    name = %(name)s,
    cron = %(cron)s,
    time_zone = %(time_zone)s,
    wanted = %(wanted)s,
    next_at = %(next_at)s,
    updated_at = clock_timestamp()
where tenant_id = %(tenant_id)s
    and id = %(id)s
returning *

-- delete --
delete from schedules
where tenant_id = %(tenant_id)s
    and id = %(id)s

-- now --
select clock_timestamp() as now
