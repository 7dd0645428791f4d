-- Three roles that nobody logs in with (ARCHITECTURE.md, "Tenants").
-- rosterhub_owner owns the schema, rosterhub_app serves and merges under row-level security,
-- rosterhub_control sees only what is known before a tenant is: keys, due runs, queue ages.
-- The login that migrates becomes a member of all three and switches with SET ROLE.

do $$
declare
    name text;
begin
    foreach name in array array['rosterhub_owner', 'rosterhub_app', 'rosterhub_control'] loop
        begin
            execute format('create role %I nologin noinherit', name);
            -- Whoever creates a role is its member, but from PostgreSQL 16 on may not SET it.
            execute format('grant %I to %I', name, current_user);
        exception when duplicate_object or unique_violation then
            null; -- another database of this cluster has made it
        end;
        if not pg_has_role(current_user, name, 'member') then
            execute format('grant %I to %I', name, current_user);
        end if;
    end loop;
    execute format('grant temporary on database %I to rosterhub_app', current_database());
end
$$;

create schema rosterhub authorization rosterhub_owner;
grant usage on schema rosterhub to rosterhub_app, rosterhub_control;

-- Where the app role stages rows that no reader may see; it owns nothing else.
create schema rosterhub_staging authorization rosterhub_app;

set role rosterhub_owner;

-- The tenant of this transaction, set by SET LOCAL; no setting means no row at all.
create function rosterhub.tenant() returns integer
    language sql stable parallel safe
    return nullif(current_setting('rosterhub.tenant_id', true), '')::integer;

-- What every tenant-owned table gets: row-level security that binds even its owner.
create procedure rosterhub.protect(relation regclass)
    language plpgsql
as $$
begin
    execute format('alter table %s enable row level security, force row level security', relation);
    execute format(
        'create policy tenant on %s to rosterhub_app '
        'using (tenant_id = (select rosterhub.tenant())) '
        'with check (tenant_id = (select rosterhub.tenant()))',
        relation
    );
end
$$;

reset role;
