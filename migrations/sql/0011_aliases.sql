-- depends: 0010_proposals

-- When a source gives its records new sourcedIds, the hub keeps its own: here stands which is which.

set role rosterhub_owner;

-- An alias stands as long as the version that made it is not undone. `entity` is the file whose
-- records bear the ids; demographics go by those of users.
create table rosterhub.aliases (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    entity text not null,
    source_id text collate "C" not null,
    hub_id text collate "C" not null,
    version bigint not null,
    primary key (tenant_id, entity, source_id)
);
create index aliases_by_version on rosterhub.aliases (tenant_id, version);
create index aliases_by_hub_id on rosterhub.aliases (tenant_id, entity, hub_id);
call rosterhub.protect('rosterhub.aliases');
grant select, insert, update, delete on rosterhub.aliases to rosterhub_app;

-- What accepting the proposed map would come to: {diff, counts, rekeyed}.
alter table rosterhub.runs add column rekey jsonb;

reset role;
