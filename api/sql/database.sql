-- take_role --
-- set_config with the role is SET ROLE with a parameter.
select
    set_config('role', %s, false),
    set_config('search_path', 'rosterhub', false),
    set_config('timezone', 'UTC', false),
    set_config('statement_timeout', limits.milliseconds, false),
    set_config('idle_in_transaction_session_timeout', limits.milliseconds, false)
from (select %s::text as milliseconds) as limits

-- role_is_unsafe --
select
    role.rolsuper or role.rolbypassrls or exists (
        select
        from pg_catalog.pg_class as relation
        where relation.relnamespace = to_regnamespace('rosterhub')
            and relation.relkind in ('r', 'p')
            and pg_has_role(current_user, relation.relowner, 'usage')
    ) as unsafe
from pg_catalog.pg_roles as role
where role.rolname = current_user

-- enter_tenant --
select set_config('rosterhub.tenant_id', %s, true)

-- begin_snapshot --
begin isolation level repeatable read read only

-- end_snapshot --
commit

-- leave_tenant --
reset rosterhub.tenant_id
