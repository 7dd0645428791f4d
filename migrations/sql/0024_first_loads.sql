-- depends: 0023_with_metadata

-- A first load goes straight into its tables, by several connections at once (pipeline.lanes).
-- COPY takes no row-level security, so it comes in by a door: a parent of the table, through which
-- rows can only be added, only to the district of the transaction, only as its first version, and
-- only while the load is open. Who copies can name neither tenant, version nor status.
-- A roster table is the only part of its door, so columns are added to the door.

set role rosterhub_owner;

-- First loads that are open: each the right to bring rows in before there is a version. It stands
-- until the version is published, or until all that came in by it is taken back.
create table rosterhub.loads (
    tenant_id integer not null,
    token uuid not null,
    primary key (tenant_id, token)
);
call rosterhub.protect('rosterhub.loads');
grant select, insert, update, delete on rosterhub.loads to rosterhub_app;
-- Whose leftovers are to be taken back.
create policy control on rosterhub.loads for select to rosterhub_control using (true);
grant select (tenant_id) on rosterhub.loads to rosterhub_control;

-- The load that this transaction works for, set by SET LOCAL; null: none.
create function rosterhub.load() returns uuid
    language sql stable parallel safe
    return nullif(current_setting('rosterhub.load', true), '')::uuid;

-- The tenant whose roster this transaction sees: rows that are there before their version is are
-- seen by nobody but who brings them in, or takes them back.
create function rosterhub.roster() returns integer
    language plpgsql stable parallel safe
as $$
begin
    if rosterhub.load() is not null or exists (
        select from rosterhub.districts where tenant_id = rosterhub.tenant() and version > 0
    ) then
        return rosterhub.tenant();
    end if;
    return null;
end
$$;

-- Closing a load waits for whoever still copies for it.
create function rosterhub.loading() returns trigger
    language plpgsql
as $$
begin
    perform from rosterhub.loads
    where tenant_id = rosterhub.tenant() and token = rosterhub.load()
    for key share;
    if not found then
        raise insufficient_privilege using message = 'no first load is open';
    end if;
    return null;
end
$$;

reset role;
create schema rosterhub_loading authorization rosterhub_owner;
set role rosterhub_owner;
grant usage on schema rosterhub_loading to rosterhub_app;

do $$
declare
    entity text;
    columns text;
begin
    foreach entity in array array[
        'orgs',
        'academic_sessions',
        'courses',
        'classes',
        'users',
        'user_profiles',
        'roles',
        'demographics',
        'enrollments'
    ] loop
        execute format(
            'alter policy tenant on rosterhub.%I using (tenant_id = (select rosterhub.roster()))',
            entity
        );
        execute format(
            'create table rosterhub_loading.%1$I (like rosterhub.%1$I) partition by list (tenant_id)',
            entity
        );
        execute format(
            'alter table rosterhub_loading.%I '
            -- Not tenant(): this is asked for each row, and half as much is done so.
            'alter tenant_id set default current_setting(''rosterhub.tenant_id'')::integer, '
            'alter status set default ''active'', '
            'alter version set default 1, alter created_version set default 1',
            entity
        );
        execute format(
            'create trigger loading before insert on rosterhub_loading.%I '
            'for each statement execute function rosterhub.loading()',
            entity
        );
        execute format(
            'alter table rosterhub_loading.%1$I attach partition rosterhub.%1$I default', entity
        );
        select string_agg(quote_ident(attname), ', ') into columns
        from pg_attribute
        where attrelid = format('rosterhub_loading.%I', entity)::regclass and attnum > 0
          and attname not in ('tenant_id', 'status', 'version', 'created_version');
        execute format(
            'grant insert (%s) on rosterhub_loading.%I to rosterhub_app', columns, entity
        );
    end loop;
end
$$;

reset role;
