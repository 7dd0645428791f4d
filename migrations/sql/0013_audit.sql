-- depends: 0012_clients

-- Who read or changed what (schemas/audit.py). Entries are added and read, never changed: the app role
-- may do no more, and what has served its time goes through one function.

set role rosterhub_owner;

-- Tenant 0 is the installation: what administrators do for no district, and who was not let in. There
-- is no reference to districts, for what was done in a district outlives it.
create table rosterhub.audit (
    tenant_id integer not null,
    chain uuid not null, -- of one process; all zeros: what the hub does by itself
    seq bigint not null check (seq > 0),
    at timestamptz not null,
    party text not null,
    who text, -- a key or a client
    credential text, -- the key of a client
    operation text not null,
    method text,
    route text,
    target text collate "C",
    filter text,
    fields text,
    page text,
    records bigint,
    address text,
    status_code integer,
    code text,
    request_id text,
    times bigint, -- the same request so many times; null: once
    lost bigint, -- so many entries before this one could not be written
    previous bytea not null,
    hash bytea not null,
    primary key (tenant_id, chain, seq)
);
create index audit_by_time on rosterhub.audit (tenant_id, at, chain, seq);
call rosterhub.protect('rosterhub.audit');
grant select, insert on rosterhub.audit to rosterhub_app;
-- A gateway writes for all districts at once, in one statement; it reads none of it that way.
create policy control on rosterhub.audit for insert to rosterhub_control with check (true);
grant insert on rosterhub.audit to rosterhub_control;

-- How far each chain is, as its writer says, and how far that is kept outside of this database.
create table rosterhub.audit_chains (
    tenant_id integer not null,
    chain uuid not null,
    process text not null,
    began_at timestamptz not null default clock_timestamp(),
    seq bigint not null,
    hash bytea not null,
    at timestamptz not null,
    exported bigint not null default 0,
    primary key (tenant_id, chain)
);
call rosterhub.protect('rosterhub.audit_chains');
grant select, insert, update (seq, hash, at) on rosterhub.audit_chains to rosterhub_app;
create policy control on rosterhub.audit_chains to rosterhub_control using (true) with check (true);
grant select, insert, update (seq, hash, at, exported) on rosterhub.audit_chains
    to rosterhub_control;

-- For who verifies, and for the function below: nobody serves as the owner.
create policy keeper on rosterhub.audit to rosterhub_owner using (true) with check (true);
create policy keeper on rosterhub.audit_chains to rosterhub_owner using (true) with check (true);

-- Some of the oldest entries of a chain go, up to one of them; never those of the last 30 days, which
-- is the shortest retention that a policy allows. A chain of which nothing is left goes too, but for
-- that of the hub itself, which is continued.
create function rosterhub.forget_audit(
    of_tenant integer, of_chain uuid, through bigint, batch integer
) returns bigint
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    gone bigint;
begin
    delete from rosterhub.audit as a
    where a.tenant_id = of_tenant and a.chain = of_chain and a.seq = any(array(
        select old.seq from rosterhub.audit as old
        where old.tenant_id = of_tenant and old.chain = of_chain and old.seq <= through
          and old.at < now() - interval '30 days'
        order by old.seq
        limit batch
    ));
    get diagnostics gone = row_count;
    delete from rosterhub.audit_chains as c
    where gone < batch and c.tenant_id = of_tenant and c.chain = of_chain and c.seq <= through
      and c.chain <> '00000000-0000-0000-0000-000000000000'
      and not exists (
          select from rosterhub.audit as a where a.tenant_id = of_tenant and a.chain = of_chain
      );
    return gone;
end
$$;
revoke execute on function rosterhub.forget_audit(integer, uuid, bigint, integer) from public;
grant execute on function rosterhub.forget_audit(integer, uuid, bigint, integer)
    to rosterhub_control;

reset role;
