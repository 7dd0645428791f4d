-- depends: 0004_policies

-- What an import remembers of the file: the line of each record, and the lines it knows by heart.

set role rosterhub_owner;

-- The line of the file that gave the record this version; null: the hub itself wrote it.
do $$
declare
    relation text;
begin
    for relation in
        select c.relname from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'created_version'
        where c.relnamespace = 'rosterhub'::regnamespace and c.relkind = 'r'
    loop
        execute format('alter table rosterhub.%I add column line integer', relation);
    end loop;
end
$$;

-- Where the lines of the last applied bulk file of an entity lie in the object store. They stand for
-- exactly its active records: who writes a record in another way deletes this row.
create table rosterhub.known_lines (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    entity text not null,
    context bytea not null, -- what the meaning of a line depends on
    prefix text not null,
    parts integer not null,
    records bigint not null,
    primary key (tenant_id, entity)
);
call rosterhub.protect('rosterhub.known_lines');
grant select, insert, update, delete on rosterhub.known_lines to rosterhub_app;

reset role;
