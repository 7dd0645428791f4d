-- Subscriptions as people manage them. Whoever writes one has taken a turn among the events
-- (schemas/sql/events.sql), except for what its sender writes.

-- all --
-- `client`: those of that client alone.
select *, clock_timestamp() as now from webhooks
where tenant_id = %(tenant_id)s
    and (%(client)s::text is null or client = %(client)s)
order by created_at, id

-- one --
select *, clock_timestamp() as now from webhooks
where tenant_id = %(tenant_id)s
    and id = %(webhook_id)s
    and (%(client)s::text is null or client = %(client)s)

-- number --
-- Those of the district, or of one client.
select count(*) as number from webhooks
where tenant_id = %(tenant_id)s
    and client is not distinct from %(client)s

-- create --
insert into webhooks (
    tenant_id, id, client, url, events, description, ordered, secret, created_by, enabled,
    disabled_because, disabled_at
)
values (
    %(tenant_id)s, %(webhook_id)s, %(client)s, %(url)s, %(events)s, %(description)s, %(ordered)s,
    %(secret)s, %(created_by)s, %(enabled)s,
    case when not %(enabled)s then 'asked' end, case when not %(enabled)s then now() end
)

-- change --
-- Another URL is another receiver: what was held against the old one is forgotten.
update webhooks
set
    url = %(url)s,
    events = %(events)s,
    description = %(description)s,
    ordered = %(ordered)s,
    updated_at = clock_timestamp(),
    timeouts = case when url = %(url)s then timeouts else 0 end,
    paused_until = case when url = %(url)s then paused_until end,
    failing_since = case when url = %(url)s then failing_since end
where tenant_id = %(tenant_id)s
    and id = %(webhook_id)s

-- enable --
-- A new beginning.
update webhooks
set
    enabled = true,
    disabled_because = null,
    disabled_at = null,
    timeouts = 0,
    paused_until = null,
    failing_since = null
where tenant_id = %(tenant_id)s
    and id = %(webhook_id)s

-- release_held --
-- In their order, a moment apart, so that what comes now is not behind all of them.
update webhook_deliveries as d
set
    state = 'waiting',
    tries = 0,
    next_at = clock_timestamp() + make_interval(secs => (o.place - 1) * %(apart)s)
from (
    select event_id, row_number() over (order by sequence) as place
    from webhook_deliveries
    where tenant_id = %(tenant_id)s
        and webhook_id = %(webhook_id)s
        and state = 'held'
) as o
where d.tenant_id = %(tenant_id)s
    and d.webhook_id = %(webhook_id)s
    and d.event_id = o.event_id
    and d.state = 'held'

-- drop_held --
update webhook_deliveries
set
    state = 'dropped',
    finished_at = clock_timestamp()
where tenant_id = %(tenant_id)s
    and webhook_id = %(webhook_id)s
    and state = 'held'

-- remove --
delete from webhooks
where tenant_id = %(tenant_id)s
    and id = %(webhook_id)s

-- rotate --
-- The one before goes on signing for a while; none, where it is not trusted any more.
update webhooks
set
    previous_secret = case when %(overlap)s::interval > interval '0' then secret end,
    previous_until = case
        when %(overlap)s::interval > interval '0' then clock_timestamp() + %(overlap)s
    end,
    secret = %(secret)s,
    updated_at = clock_timestamp()
where tenant_id = %(tenant_id)s
    and id = %(webhook_id)s

-- deliveries --
-- A page of the log, the newest first, each with its attempts.
select
    d.*,
    e.type,
    e.version,
    e.created_at as event_at,
    (
        select coalesce(jsonb_agg(a order by a.number), '[]') from webhook_attempts as a
        where a.tenant_id = d.tenant_id
            and a.webhook_id = d.webhook_id
            and a.event_id = d.event_id
    ) as log
from webhook_deliveries as d
join webhook_events as e on e.tenant_id = d.tenant_id
    and e.id = d.event_id
where d.tenant_id = %(tenant_id)s
    and d.webhook_id = %(webhook_id)s
    and (%(before)s::bigint is null or d.sequence < %(before)s)
    and (%(state)s::text[] is null or d.state = any(%(state)s))
    and (%(type)s::text is null or e.type = %(type)s)
    and (%(since)s::timestamptz is null or e.created_at >= %(since)s)
    and (%(until)s::timestamptz is null or e.created_at < %(until)s)
order by d.sequence desc
limit %(limit)s

-- delivery --
select
    d.*,
    e.type,
    e.version,
    e.body,
    c.lens,
    e.created_at as event_at,
    (
        select coalesce(jsonb_agg(a order by a.number), '[]') from webhook_attempts as a
        where a.tenant_id = d.tenant_id
            and a.webhook_id = d.webhook_id
            and a.event_id = d.event_id
    ) as log
from webhook_deliveries as d
join webhook_events as e on e.tenant_id = d.tenant_id
    and e.id = d.event_id
join webhooks as w on w.tenant_id = d.tenant_id
    and w.id = d.webhook_id
left join clients as c on c.tenant_id = w.tenant_id
    and c.id = w.client
where d.tenant_id = %(tenant_id)s
    and d.webhook_id = %(webhook_id)s
    and d.event_id = %(event_id)s

-- resend --
-- What is under way at this moment stays so.
update webhook_deliveries
set
    state = 'waiting',
    tries = 0,
    next_at = clock_timestamp(),
    resent_at = clock_timestamp(),
    finished_at = null
where tenant_id = %(tenant_id)s
    and webhook_id = %(webhook_id)s
    and event_id = %(event_id)s
    and state <> 'sending'

-- resend_range --
-- The events of a range that the subscription wants, whether it was there for them or not.
with wanted as (
    select e.id, e.sequence, row_number() over (order by e.sequence) as place
    from webhook_events as e
    join webhooks as w on w.tenant_id = e.tenant_id
        and w.id = %(webhook_id)s
    where e.tenant_id = %(tenant_id)s
        and e.type <> 'webhook.test'
        and (w.events is null or e.type = any(w.events))
        and rosterhub.rung(w.client, e.type, e.client)
        and (%(since)s::timestamptz is null or e.created_at >= %(since)s)
        and (%(until)s::timestamptz is null or e.created_at < %(until)s)
        and (%(version)s::bigint is null or e.version >= %(version)s)
        and (%(after)s::bigint is null or e.sequence > %(after)s)
        and (%(everything)s or not exists (
            select from webhook_deliveries as d
            where d.tenant_id = e.tenant_id
                and d.webhook_id = w.id
                and d.event_id = e.id
                and d.state in ('delivered', 'waiting', 'sending')
        ))
    order by e.sequence
    limit %(limit)s
), sent as (
    insert into webhook_deliveries as d (
        tenant_id, webhook_id, event_id, sequence, next_at, resent_at
    )
    select
        %(tenant_id)s, %(webhook_id)s, id, sequence,
        clock_timestamp() + make_interval(secs => (place - 1) * %(apart)s), clock_timestamp()
    from wanted
    on conflict (tenant_id, webhook_id, event_id) do update
    set
        state = 'waiting',
        tries = 0,
        next_at = excluded.next_at,
        resent_at = excluded.resent_at,
        finished_at = null
    where d.state <> 'sending'
    returning d.sequence
)
select count(*) as number, max(sequence) as last from sent

-- states --
select state, count(*) as number, min(next_at) filter (where state = 'waiting') as due_at,
    min(created_at) filter (where state in ('waiting', 'sending', 'held')) as oldest_at
from webhook_deliveries
where tenant_id = %(tenant_id)s
    and webhook_id = %(webhook_id)s
group by state

-- lately --
-- The attempts of a day; one that has no end counts once its sender can be given up.
select
    count(*) as attempts,
    count(*) filter (where seconds is not null and failure is null) as delivered,
    count(*) filter (where failure is not null) as failed,
    count(*) filter (where seconds is null and began_at < now() - interval '1 minute') as interrupted,
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by seconds) as seconds
from webhook_attempts
where tenant_id = %(tenant_id)s
    and webhook_id = %(webhook_id)s
    and began_at > now() - interval '1 day'

-- failures --
select failure, count(*) as number
from webhook_attempts
where tenant_id = %(tenant_id)s
    and webhook_id = %(webhook_id)s
    and began_at > now() - interval '1 day'
    and failure is not null
group by failure

-- statuses --
select status, count(*) as number
from webhook_attempts
where tenant_id = %(tenant_id)s
    and webhook_id = %(webhook_id)s
    and began_at > now() - interval '1 day'
    and status is not null
group by status
