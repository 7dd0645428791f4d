-- depends: 0011_aliases

-- The systems of a district that read its roster: what each may see, from where and how often, the
-- secrets with which it asks for tokens, and the web sites whose pages may ask at all.

set role rosterhub_owner;

create table rosterhub.clients (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    id text collate "C" not null,
    name text not null,
    enabled boolean not null default true,
    epoch bigint not null default 1, -- tokens bear it: what was given before a disabling is void
    scopes text[] not null,
    networks cidr[] not null default '{}', -- none: from everywhere
    rate_limit integer check (rate_limit > 0), -- requests per minute; null: as the settings say
    lens jsonb not null default '{}',
    lens_revision bigint not null default 1,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    primary key (tenant_id, id)
);
create index clients_by_id on rosterhub.clients (id);
call rosterhub.protect('rosterhub.clients');
grant select, update (lens, lens_revision) on rosterhub.clients to rosterhub_app;
create policy control on rosterhub.clients to rosterhub_control using (true) with check (true);
grant select, insert, delete on rosterhub.clients to rosterhub_control;
grant update (
    name, enabled, epoch, scopes, networks, rate_limit, lens, lens_revision, last_used_at
) on rosterhub.clients to rosterhub_control;

create table rosterhub.client_secrets (
    tenant_id integer not null,
    client_id text collate "C" not null,
    id text collate "C" not null,
    hash bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    last_used_at timestamptz,
    primary key (tenant_id, client_id, id),
    foreign key (tenant_id, client_id) references rosterhub.clients on delete cascade
);
call rosterhub.protect('rosterhub.client_secrets');
create policy control on rosterhub.client_secrets to rosterhub_control
    using (true) with check (true);
grant select, insert, delete, update (revoked_at, last_used_at) on rosterhub.client_secrets
    to rosterhub_control;

-- A key of a client is seen through its lens; what goes past every lens is for the district's own.
alter table rosterhub.keys
    add column client_id text collate "C",
    add foreign key (tenant_id, client_id) references rosterhub.clients on delete cascade,
    add constraint keys_of_clients check (
        client_id is null or not scopes && array['imports', 'settings']
    );
create index keys_by_client on rosterhub.keys (tenant_id, client_id) where client_id is not null;

-- Origins, as browsers send them, whose pages may read answers about the district.
create table rosterhub.cors_origins (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    origin text collate "C" not null,
    primary key (tenant_id, origin)
);
create index cors_origins_by_origin on rosterhub.cors_origins (origin);
call rosterhub.protect('rosterhub.cors_origins');
create policy control on rosterhub.cors_origins to rosterhub_control using (true) with check (true);
grant select, insert, delete on rosterhub.cors_origins to rosterhub_control;

reset role;
