-- How an event is written, by a worker or by the gateway, in the transaction of what it tells.

-- number_event --
-- The next number of the district, and the turn until the commit: the numbers become visible in
-- their order, without a gap.
insert into event_counters as c (tenant_id, newest) values (%(tenant_id)s, 1)
on conflict (tenant_id) do update set newest = c.newest + 1
returning newest, date_trunc('milliseconds', clock_timestamp()) as at, (
    select id from districts where tenant_id = %(tenant_id)s
) as district;

-- add_event --
-- The event, with a delivery for everybody who wants to be rung for it; `only` is rung whatever it
-- wants. Who is off finds it waiting; a client is not rung for what concerns others.
with event as (
    insert into webhook_events (tenant_id, id, sequence, type, version, client, body, created_at)
    values (
        %(tenant_id)s, %(id)s, %(sequence)s, %(type)s, %(version)s, %(client)s, %(body)s, %(at)s
    )
)
insert into webhook_deliveries (tenant_id, webhook_id, event_id, sequence, state)
select w.tenant_id, w.id, %(id)s, %(sequence)s,
    case when w.enabled or w.id = %(only)s::uuid then 'waiting' else 'held' end
from webhooks as w
where w.tenant_id = %(tenant_id)s and case
    when %(only)s::uuid is null
        then (w.events is null or %(type)s = any(w.events))
            and rosterhub.rung(w.client, %(type)s, %(client)s)
    else w.id = %(only)s
end;

-- hold_events --
-- No event is written meanwhile: who changes a subscription takes a turn, too. Otherwise an event
-- would wait for nobody, or for one who is gone.
insert into event_counters as c (tenant_id, newest) values (%(tenant_id)s, 0)
on conflict (tenant_id) do update set newest = c.newest
returning newest;

-- disable --
-- No more is sent; what comes waits with what waits already.
update webhooks set
    enabled = false, disabled_because = %(because)s, disabled_at = now(), paused_until = null
where tenant_id = %(tenant_id)s and id = %(webhook_id)s and enabled;

-- hold_deliveries --
update webhook_deliveries set state = 'held'
where tenant_id = %(tenant_id)s and webhook_id = %(webhook_id)s and state = 'waiting';
