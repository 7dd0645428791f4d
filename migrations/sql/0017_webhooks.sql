-- depends: 0016_exports

-- What happens in a district, in the order in which it came to stand, and who is rung for it.

set role rosterhub_owner;

-- The number of the newest event. Whoever writes an event holds this row until the commit, so the
-- numbers of a district have no gap and become visible in their order: who reads on from a number
-- misses nothing.
create table rosterhub.event_counters (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    newest bigint not null,
    primary key (tenant_id)
);
call rosterhub.protect('rosterhub.event_counters');
grant select, insert, update, delete on rosterhub.event_counters to rosterhub_app;

-- A subscription. Its secrets are sealed (schemas/sealing.py); what it missed while it was off waits.
create table rosterhub.webhooks (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null,
    client text collate "C", -- whose it is; null: the district's own
    url text not null,
    events text[], -- that it is rung for; null: all
    description text not null default '',
    enabled boolean not null default true,
    ordered boolean not null default false, -- one at a time, and none before an older one
    secret bytea not null,
    previous_secret bytea, -- signs beside the other until then
    previous_until timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    updated_at timestamptz not null default clock_timestamp(),
    disabled_because text check (disabled_because in ('asked', 'gone', 'failing')),
    disabled_at timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    failing_since timestamptz, -- the first failure after the last success
    timeouts integer not null default 0, -- in a row
    paused_until timestamptz, -- after too many of them
    notices jsonb not null default '[]', -- [{kind, at}], the newest last
    primary key (tenant_id, id),
    foreign key (tenant_id, client) references rosterhub.clients on delete cascade,
    check ((previous_secret is null) = (previous_until is null)),
    check (enabled = (disabled_because is null) and enabled = (disabled_at is null))
);
call rosterhub.protect('rosterhub.webhooks');
grant select, insert, update, delete on rosterhub.webhooks to rosterhub_app;
create policy control on rosterhub.webhooks for select to rosterhub_control using (true);
grant select (tenant_id, id, enabled, timeouts, paused_until, failing_since)
    on rosterhub.webhooks to rosterhub_control;

-- The body is kept as it is sent, byte for byte, for every attempt signs the same.
create table rosterhub.webhook_events (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null, -- the webhook-id of every attempt
    sequence bigint not null,
    type text not null,
    version bigint, -- of the roster, where it was published
    body text not null,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, sequence)
);
create index webhook_events_by_age on rosterhub.webhook_events (tenant_id, created_at);
call rosterhub.protect('rosterhub.webhook_events');
grant select, insert, update, delete on rosterhub.webhook_events to rosterhub_app;

-- One event for one subscription, written with its event. `next_at`: when it is due, and while it is
-- being sent, when whoever sends it has fallen silent.
create table rosterhub.webhook_deliveries (
    tenant_id integer not null,
    webhook_id uuid not null,
    event_id uuid not null,
    sequence bigint not null,
    state text not null default 'waiting' check (
        state in ('waiting', 'sending', 'held', 'delivered', 'failed', 'dropped')
    ),
    next_at timestamptz not null default clock_timestamp(),
    tries integer not null default 0, -- that failed, since it was asked for last
    attempts integer not null default 0, -- that were begun
    fence bigint not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    resent_at timestamptz,
    finished_at timestamptz,
    primary key (tenant_id, webhook_id, event_id),
    foreign key (tenant_id, webhook_id) references rosterhub.webhooks on delete cascade,
    foreign key (tenant_id, event_id) references rosterhub.webhook_events on delete cascade
);
create index webhook_deliveries_due on rosterhub.webhook_deliveries (tenant_id, webhook_id, next_at)
    where state in ('waiting', 'sending');
create index webhook_deliveries_in_line on rosterhub.webhook_deliveries (tenant_id, webhook_id, sequence)
    where state in ('waiting', 'sending');
create index webhook_deliveries_newest
    on rosterhub.webhook_deliveries (tenant_id, webhook_id, sequence);
create index webhook_deliveries_by_event on rosterhub.webhook_deliveries (tenant_id, event_id);
call rosterhub.protect('rosterhub.webhook_deliveries');
grant select, insert, update, delete on rosterhub.webhook_deliveries to rosterhub_app;
create policy control on rosterhub.webhook_deliveries for select to rosterhub_control using (true);
grant select (tenant_id, webhook_id, state, next_at)
    on rosterhub.webhook_deliveries to rosterhub_control;

-- Written when it begins; one that has no end was interrupted.
create table rosterhub.webhook_attempts (
    tenant_id integer not null,
    webhook_id uuid not null,
    event_id uuid not null,
    number integer not null,
    began_at timestamptz not null default clock_timestamp(),
    seconds double precision,
    status integer, -- of the answer
    failure text, -- its code; null with an end: delivered
    response text, -- its beginning, scrubbed
    primary key (tenant_id, webhook_id, event_id, number),
    foreign key (tenant_id, webhook_id, event_id)
        references rosterhub.webhook_deliveries on delete cascade
);
create index webhook_attempts_by_age
    on rosterhub.webhook_attempts (tenant_id, webhook_id, began_at);
call rosterhub.protect('rosterhub.webhook_attempts');
grant select, insert, update, delete on rosterhub.webhook_attempts to rosterhub_app;

reset role;
