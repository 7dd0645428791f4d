-- depends: 0020_packages

-- After a restore, numbers of versions are given a second time. What a restore changes is part of
-- every cursor of the feed, so that consumers begin again without anybody having to think of it.

set role rosterhub_owner;

-- Which life of the database this is: another database or other tables after a dump was
-- restored, another system after it was restored elsewhere, another timeline after a recovery to a point in time or a failover.
create function rosterhub.incarnation() returns text
language plpgsql
stable
set search_path = pg_catalog
as $$
declare
    copy text := (select oid from pg_database where datname = current_database())
        || '.' || 'rosterhub.districts'::regclass::oid;
begin
    return copy || '.' || (select system_identifier from pg_control_system())
        || '.' || (select timeline_id from pg_control_checkpoint());
exception
    when insufficient_privilege then -- where a provider of databases keeps these to itself
        return copy;
end
$$;
grant execute on function rosterhub.incarnation() to rosterhub_app;

reset role;
