-- Deliveries on their way out. Only the database's clock counts, and who ends an attempt names the
-- fence of its claim. `now()` is the moment of a claim: these transactions are short, and an index
-- can be asked for it.

-- due --
-- Endpoints with something to send, each district in turn, and whether they kept us waiting lately
-- (control role).
select w.tenant_id, w.id, w.timeouts > 0 as slow
from webhooks as w
cross join lateral (
    select d.next_at from webhook_deliveries as d
    where d.tenant_id = w.tenant_id and d.webhook_id = w.id
      and d.state in ('waiting', 'sending') and d.next_at <= now()
    order by d.next_at limit 1
) as d
where w.paused_until is null or w.paused_until <= now()
order by row_number() over (partition by w.tenant_id order by d.next_at), d.next_at;

-- take_turns --
-- Two senders would each see room for one more.
select pg_advisory_xact_lock(hashtext('rosterhub.webhooks'), %(tenant_id)s);

-- claim --
-- One delivery of each endpoint that has room for it. In order means the oldest that has no end, and
-- only when that is due. A delivery is looked at again when it is taken, for its sender may have been
-- about to end it.
with chosen as (
    select w.tenant_id, w.id as webhook_id, d.event_id
    from webhooks as w
    cross join lateral (
        select count(*) as number from webhook_deliveries as f
        where f.tenant_id = w.tenant_id and f.webhook_id = w.id
          and f.state = 'sending' and f.next_at > now()
    ) as flying
    cross join lateral (
        select head.event_id, head.state, head.next_at from (
            select o.* from webhook_deliveries as o
            where w.ordered and o.tenant_id = w.tenant_id and o.webhook_id = w.id
              and o.state in ('waiting', 'sending')
            order by o.sequence limit 1
        ) as head
        union all
        select first.event_id, first.state, first.next_at from (
            select o.* from webhook_deliveries as o
            where not w.ordered and o.tenant_id = w.tenant_id and o.webhook_id = w.id
              and o.state in ('waiting', 'sending') and o.next_at <= now()
            order by o.next_at, o.sequence limit 1
        ) as first
    ) as d
    where w.tenant_id = %(tenant_id)s and w.id = any(%(webhooks)s)
      and (w.paused_until is null or w.paused_until <= now())
      and flying.number < case when w.ordered or w.timeouts >= %(timeouts)s then 1 else 2 end
      and d.next_at <= now()
), claimed as (
    update webhook_deliveries as d set
        state = 'sending', attempts = d.attempts + 1, fence = d.fence + 1,
        next_at = now() + make_interval(secs => %(lease)s)
    from chosen as c
    where d.tenant_id = c.tenant_id and d.webhook_id = c.webhook_id and d.event_id = c.event_id
      and d.state in ('waiting', 'sending') and d.next_at <= now()
    returning d.tenant_id, d.webhook_id, d.event_id, d.fence, d.attempts, d.tries
), noted as (
    insert into webhook_attempts (tenant_id, webhook_id, event_id, number)
    select tenant_id, webhook_id, event_id, attempts from claimed
)
select c.webhook_id, c.event_id, c.fence, c.attempts, c.tries, w.url, e.body,
    extract(epoch from now() - e.created_at)::double precision as age, w.secret,
    case when w.previous_until > now() then w.previous_secret end as previous_secret,
    (select l.lens from clients as l where l.tenant_id = w.tenant_id and l.id = w.client) as lens
from claimed as c
join webhooks as w on w.tenant_id = c.tenant_id and w.id = c.webhook_id
join webhook_events as e on e.tenant_id = c.tenant_id and e.id = c.event_id;

-- note_attempt --
update webhook_attempts set
    seconds = %(seconds)s, status = %(status)s, failure = %(failure)s, response = %(response)s
where tenant_id = %(tenant_id)s and webhook_id = %(webhook_id)s and event_id = %(event_id)s
  and number = %(number)s;

-- delivered --
update webhook_deliveries set state = 'delivered', finished_at = clock_timestamp()
where tenant_id = %(tenant_id)s and webhook_id = %(webhook_id)s and event_id = %(event_id)s
  and fence = %(fence)s and state = 'sending';

-- put_off --
-- Due again after a pause (none: it is given up), if its subscription is still on.
update webhook_deliveries set
    state = case
        when %(pause)s::double precision is null then 'failed'
        when %(enabled)s then 'waiting'
        else 'held'
    end,
    tries = tries + %(counts)s,
    next_at = clock_timestamp() + make_interval(secs => coalesce(%(pause)s, 0)),
    finished_at = case when %(pause)s::double precision is null then clock_timestamp() end
where tenant_id = %(tenant_id)s and webhook_id = %(webhook_id)s and event_id = %(event_id)s
  and fence = %(fence)s and state = 'sending';

-- endpoint_is_well --
-- Written only where it says something new; otherwise once a minute.
update webhooks set
    last_success_at = clock_timestamp(), failing_since = null, timeouts = 0, paused_until = null
where tenant_id = %(tenant_id)s and id = %(webhook_id)s and (
    failing_since is not null or timeouts > 0 or paused_until is not null
    or last_success_at is null or last_success_at < clock_timestamp() - interval '1 minute'
);

-- endpoint_failed --
-- Who lets us wait again and again is asked only now and then: after 30 seconds, and up to 16 minutes.
update webhooks set
    last_failure_at = clock_timestamp(),
    failing_since = coalesce(failing_since, clock_timestamp()),
    timeouts = case when %(hanging)s then timeouts + 1 else 0 end,
    paused_until = case when %(hanging)s and timeouts + 1 >= %(timeouts)s then
        clock_timestamp() + interval '30 seconds' * 2 ^ least(timeouts + 1 - %(timeouts)s, 5)
    end
where tenant_id = %(tenant_id)s and id = %(webhook_id)s
returning enabled;

-- hold_endpoint --
-- Whether it is on, and stays so until the commit.
select enabled from webhooks
where tenant_id = %(tenant_id)s and id = %(webhook_id)s
for no key update;

-- failing --
-- Subscriptions that somebody is to be told about (control role).
select tenant_id, id from webhooks
where enabled and failing_since <= now() - make_interval(days => %(days)s);

-- trouble --
select notices, failing_since, last_failure_at, now()
from webhooks
where tenant_id = %(tenant_id)s and id = %(webhook_id)s and enabled and failing_since is not null
for no key update;

-- give_notice --
update webhooks set notices = %(notices)s
where tenant_id = %(tenant_id)s and id = %(webhook_id)s;

-- notices --
select notices from webhooks where tenant_id = %(tenant_id)s and id = %(webhook_id)s;

-- districts --
-- Where there may be something to tidy (control role).
select tenant_id from districts where deleted_at is null order by tenant_id;

-- forget_events --
-- Old ones go with their deliveries and attempts.
delete from webhook_events where tenant_id = %(tenant_id)s and id = any(array(
    select id from webhook_events
    where tenant_id = %(tenant_id)s and created_at < now() - make_interval(days => %(days)s)
    order by created_at limit %(batch)s
));

-- forget_secrets --
-- What does not sign any more.
update webhooks set previous_secret = null, previous_until = null
where tenant_id = %(tenant_id)s and previous_until <= now();

-- sealed --
select id, secret, previous_secret from webhooks where tenant_id = %(tenant_id)s;

-- seal_anew --
-- Unless somebody has rotated it meanwhile.
update webhooks set
    secret = coalesce(%(new)s, secret), previous_secret = coalesce(%(new_previous)s, previous_secret)
where tenant_id = %(tenant_id)s and id = %(webhook_id)s
  and secret = %(secret)s and previous_secret is not distinct from %(previous)s;
