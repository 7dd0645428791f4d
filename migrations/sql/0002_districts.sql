-- depends: 0001_roles

-- Districts, who may speak for them, and what their imports were.

set role rosterhub_owner;

create table rosterhub.districts (
    tenant_id integer generated always as identity primary key,
    id text collate "C" not null unique check (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text not null,
    version bigint not null default 0,
    published_at timestamptz,
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
call rosterhub.protect('rosterhub.districts');
-- Whoever writes a district's roster locks this row first and moves version as the last statement.
grant select, update (version, published_at) on rosterhub.districts to rosterhub_app;
create policy control on rosterhub.districts to rosterhub_control using (true) with check (true);
grant select, insert, delete, update (name, deleted_at) on rosterhub.districts to rosterhub_control;

create table rosterhub.keys (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id text collate "C" not null,
    hash bytea not null,
    label text not null default '',
    scopes text[] not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    last_used_at timestamptz,
    primary key (tenant_id, id)
);
create index keys_by_id on rosterhub.keys (id);
call rosterhub.protect('rosterhub.keys');
create policy control on rosterhub.keys to rosterhub_control using (true) with check (true);
grant select, insert, delete, update (revoked_at, last_used_at) on rosterhub.keys
    to rosterhub_control;

-- Keys of administrators belong to no district, so this table has no tenant.
create table rosterhub.admin_keys (
    id text collate "C" primary key,
    hash bytea not null,
    label text not null default '',
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    last_used_at timestamptz
);
grant select, insert, update (revoked_at, last_used_at) on rosterhub.admin_keys
    to rosterhub_control;

create table rosterhub.uploads (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null,
    object_key text not null,
    name text,
    bytes bigint not null check (bytes > 0),
    sha256 bytea not null,
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    primary key (tenant_id, id)
);
call rosterhub.protect('rosterhub.uploads');
grant select, insert, delete, update (deleted_at) on rosterhub.uploads to rosterhub_app;

-- A run is the truth about a piece of work; a message in Redis is only its bell.
create table rosterhub.runs (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null,
    kind text not null check (kind in ('import')),
    state text not null default 'queued' check (
        state in (
            'received', 'queued', 'running', 'review', 'held', 'applied', 'rejected', 'failed',
            'cancelled', 'superseded'
        )
    ),
    stage text,
    upload_id uuid not null,
    entity text, -- of a single CSV; null: a package
    mode text check (mode in ('bulk', 'delta', 'upsert')),
    profile text,
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
    version bigint, -- the version it made
    progress jsonb not null default '{}', -- {file: {done, total}} in rows
    counts jsonb not null default '{}', -- {file: {created, updated, unchanged, deleted, …}}
    findings jsonb not null default '{}', -- {severity: count}
    failure jsonb, -- {code, ja, en}
    primary key (tenant_id, id),
    foreign key (tenant_id, upload_id) references rosterhub.uploads,
    check ((mode is null) = (entity is null)),
    check ((state = 'running') = (lease_until is not null)),
    check ((state in ('applied', 'rejected', 'failed', 'cancelled', 'superseded'))
        = (finished_at is not null)),
    check ((state = 'applied') = (version is not null))
);
-- A district has one writer at a time.
create unique index runs_one_import on rosterhub.runs (tenant_id)
    where kind = 'import' and state = 'running';
create unique index runs_idempotency on rosterhub.runs (tenant_id, idempotency_key)
    where idempotency_key is not null;
create index runs_newest on rosterhub.runs (tenant_id, created_at desc, id desc);
create index runs_due on rosterhub.runs (state, next_run_at)
    where state in ('queued', 'running');
call rosterhub.protect('rosterhub.runs');
grant select, insert, update, delete on rosterhub.runs to rosterhub_app;
create policy control on rosterhub.runs for select to rosterhub_control using (true);
grant select (tenant_id, id, kind, state, created_at, next_run_at, lease_until, attempts)
    on rosterhub.runs to rosterhub_control;

create table rosterhub.findings (
    tenant_id integer not null,
    run_id uuid not null,
    seq integer not null,
    file text not null,
    line bigint, -- of the file, the header is line 1; null: the file as a whole
    "column" text,
    sourced_id text collate "C",
    rule text not null,
    severity text not null check (severity in ('error', 'warning', 'info')),
    value text,
    facts jsonb not null default '{}', -- what the message of the rule names
    caused_by integer,
    primary key (tenant_id, run_id, seq),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade
);
call rosterhub.protect('rosterhub.findings');
grant select, insert, delete on rosterhub.findings to rosterhub_app;

-- One import is one version. published_at is the dateLastModified of every record it changed.
create table rosterhub.versions (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    version bigint not null,
    run_id uuid not null,
    kind text not null,
    published_at timestamptz not null,
    counts jsonb not null,
    primary key (tenant_id, version),
    unique (tenant_id, run_id),
    unique (tenant_id, published_at)
);
call rosterhub.protect('rosterhub.versions');
grant select, insert, delete on rosterhub.versions to rosterhub_app;

-- How many records each entity has, so that no page counts a table.
create table rosterhub.record_counts (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    entity text not null,
    status text not null check (status in ('active', 'tobedeleted')),
    records bigint not null,
    primary key (tenant_id, entity, status)
);
call rosterhub.protect('rosterhub.record_counts');
grant select, insert, update, delete on rosterhub.record_counts to rosterhub_app;

reset role;
