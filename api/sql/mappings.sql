-- take_turns --
-- Saves of one district take turns: versions are gap-free, and no table goes that a mapping names.
select pg_advisory_xact_lock(hashtext('rosterhub.mappings'), %s)

-- current --
select distinct on (entity) entity, version, mapping, created_at, created_by, restored_from
from mappings
where tenant_id = %s
order by entity, version desc

-- newest --
select entity, version, mapping, created_at, created_by, restored_from
from mappings
where tenant_id = %(tenant_id)s
    and entity = %(entity)s
order by version desc
limit 1

-- one --
select entity, version, mapping, created_at, created_by, restored_from
from mappings
where tenant_id = %(tenant_id)s
    and entity = %(entity)s
    and version = %(version)s

-- versions --
select entity, version, mapping, created_at, created_by, restored_from
from mappings
where tenant_id = %(tenant_id)s
    and entity = %(entity)s
    and version < %(before)s
order by version desc
limit %(limit)s

-- save --
insert into mappings (tenant_id, entity, version, mapping, created_by, restored_from)
select
    %(tenant_id)s, %(entity)s, coalesce(max(version), 0) + 1, %(mapping)s::jsonb, %(created_by)s,
    %(restored_from)s
from mappings
where tenant_id = %(tenant_id)s
    and entity = %(entity)s
returning entity, version, mapping, created_at, created_by, restored_from

-- tables --
select name, entries
from mapping_tables
where tenant_id = %s

-- list_tables --
select
    name,
    version,
    (select count(*) from jsonb_object_keys(entries)) as entries,
    updated_at,
    updated_by
from mapping_tables
where tenant_id = %s
order by name

-- table --
select name, version, entries, updated_at, updated_by
from mapping_tables
where tenant_id = %(tenant_id)s
    and name = %(name)s

-- put_table --
insert into mapping_tables (tenant_id, name, entries, updated_by)
values (%(tenant_id)s, %(name)s, %(entries)s, %(updated_by)s)
on conflict (tenant_id, name) do update
set entries = excluded.entries,
    version = mapping_tables.version + 1,
    updated_at = clock_timestamp(),
    updated_by = excluded.updated_by
returning name, version, entries, updated_at, updated_by

-- delete_table --
delete from mapping_tables
where tenant_id = %(tenant_id)s
    and name = %(name)s

-- schools --
-- The schools of the district by their code; one code for two schools names neither.
select identifier, min(sourced_id) as sourced_id
from orgs
where tenant_id = %s
    and type = 'school'
    and status = 'active'
    and identifier <> ''
group by identifier
having count(*) = 1
order by identifier

-- insert_preview --
insert into mapping_previews (tenant_id, id, entity, mode, rows, mapping, tables, sample)
values (
    %(tenant_id)s, %(id)s, %(entity)s, %(mode)s, %(rows)s, %(mapping)s, %(tables)s, %(sample)s
)

-- preview --
select id, state, entity, answer
from mapping_previews
where tenant_id = %(tenant_id)s
    and id = %(id)s

-- delete_preview --
delete from mapping_previews
where tenant_id = %(tenant_id)s
    and id = %(id)s
