-- depends: 0015_reads
-- Exports: a run each, whose file appears when it is whole; and schedules that ask for them.

set role rosterhub_owner;

create table rosterhub.exports (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null,
    state text not null default 'queued' check (
        state in ('queued', 'running', 'completed', 'failed', 'cancelled')
    ),
    wanted jsonb not null, -- what was asked for (schemas/exports.py)
    client text collate "C", -- who will see it, by the lens of that client; null: the district
    schedule_id uuid, -- the schedule that asked for it, and for when
    due_at timestamptz,
    created_by text not null,
    idempotency_key text,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    attempts integer not null default 0,
    fence bigint not null default 0,
    lease_until timestamptz,
    next_run_at timestamptz not null default clock_timestamp(),
    worker text,
    progress jsonb not null default '{}', -- {file: {done, total}} in rows
    failure jsonb, -- {code, ja, en}
    cancelled_by text,
    -- What it shows, known when it is completed
    version bigint,
    since bigint, -- the version from which a delta goes on; null: bulk
    profile text,
    identifiers text,
    lens_revision bigint, -- the edit of the client's lens by which it is seen
    counts jsonb not null default '{}', -- {file: rows}
    replaced jsonb not null default '{}', -- {file: {signs, lines}} that its encoding does not have
    -- The file, which goes before its run does
    name text,
    object_key text,
    bytes bigint,
    sha256 bytea,
    deleted_at timestamptz,
    primary key (tenant_id, id),
    check ((state = 'running') = (lease_until is not null)),
    check ((state in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
    check ((state = 'completed') = (object_key is not null)),
    check ((schedule_id is null) = (due_at is null))
);
-- One after the other, so that no district keeps the others waiting.
create unique index exports_one_running on rosterhub.exports (tenant_id) where state = 'running';
-- A schedule asks once for each of its times.
create unique index exports_of_schedule on rosterhub.exports (tenant_id, schedule_id, due_at)
    where schedule_id is not null;
create unique index exports_idempotency on rosterhub.exports (tenant_id, idempotency_key)
    where idempotency_key is not null;
create index exports_newest on rosterhub.exports (tenant_id, created_at desc, id desc);
create index exports_due on rosterhub.exports (state, next_run_at)
    where state in ('queued', 'running');
create index exports_started on rosterhub.exports (tenant_id, started_at)
    where started_at is not null;
call rosterhub.protect('rosterhub.exports');
grant select, insert, update, delete on rosterhub.exports to rosterhub_app;
create policy control on rosterhub.exports for select to rosterhub_control using (true);
grant select (tenant_id, id, state, created_at, started_at, next_run_at, lease_until)
    on rosterhub.exports to rosterhub_control;

create table rosterhub.schedules (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null,
    name text not null,
    client text collate "C",
    cron text not null,
    time_zone text not null,
    wanted jsonb not null,
    next_at timestamptz, -- null: it is switched off
    last_at timestamptz, -- the time for which it asked last
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id)
);
create index schedules_due on rosterhub.schedules (next_at) where next_at is not null;
call rosterhub.protect('rosterhub.schedules');
grant select, insert, update, delete on rosterhub.schedules to rosterhub_app;
create policy control on rosterhub.schedules for select to rosterhub_control using (true);
grant select (tenant_id, id, next_at) on rosterhub.schedules to rosterhub_control;

reset role;
