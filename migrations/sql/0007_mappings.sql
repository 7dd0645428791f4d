-- depends: 0004_policies

-- How a district's own columns become those of OneRoster (schemas/mappings.py), its lookup tables,
-- and samples that wait for a worker to show what a mapping makes of them.

set role rosterhub_owner;

-- Every save is a version; the newest counts, and null means: back to the default.
create table rosterhub.mappings (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    entity text not null,
    version bigint not null check (version > 0),
    mapping jsonb,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    restored_from bigint, -- the version it is a copy of
    primary key (tenant_id, entity, version)
);
call rosterhub.protect('rosterhub.mappings');
grant select, insert, delete on rosterhub.mappings to rosterhub_app;

create table rosterhub.mapping_tables (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    name text collate "C" not null,
    version bigint not null default 1,
    entries jsonb not null, -- {value: what it becomes}
    updated_at timestamptz not null default clock_timestamp(),
    updated_by text not null,
    primary key (tenant_id, name)
);
call rosterhub.protect('rosterhub.mapping_tables');
grant select, insert, update, delete on rosterhub.mapping_tables to rosterhub_app;

-- Holds a piece of somebody's roster: emptied when it is answered, gone an hour later.
create table rosterhub.mapping_previews (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id uuid not null,
    state text not null default 'waiting' check (
        state in ('waiting', 'done', 'failed')
    ),
    entity text not null,
    mode text not null default 'bulk' check (mode in ('bulk', 'delta', 'upsert')),
    rows integer not null default 20,
    mapping jsonb not null,
    tables jsonb not null default '{}',
    sample bytea,
    answer jsonb,
    created_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id),
    check ((state = 'waiting') = (answer is null))
);
create index mapping_previews_due on rosterhub.mapping_previews (state, created_at);
call rosterhub.protect('rosterhub.mapping_previews');
grant select, insert, update, delete on rosterhub.mapping_previews to rosterhub_app;
create policy control on rosterhub.mapping_previews for select to rosterhub_control using (true);
grant select (tenant_id, state, created_at) on rosterhub.mapping_previews to rosterhub_control;

-- Which mapping each file of a run was read with: {file: {mapping, fingerprint}}.
alter table rosterhub.runs add column mappings jsonb not null default '{}';

reset role;
