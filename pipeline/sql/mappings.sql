-- A district's mappings and lookup tables, as an import finds them.

-- current --
-- The newest version of each entity; one whose mapping is null was reset to the default.
select distinct on (entity) entity, version, mapping
from mappings
where tenant_id = %(tenant_id)s
order by entity, version desc;

-- tables --
select name, entries from mapping_tables where tenant_id = %(tenant_id)s and name = any(%(names)s);

-- previews_due --
-- Districts with a preview to make, or with one that is too old to be kept (control role).
select distinct tenant_id from mapping_previews
where state = 'waiting' or created_at < clock_timestamp() - interval '1 hour';

-- forget_previews --
delete from mapping_previews
where tenant_id = %(tenant_id)s and created_at < clock_timestamp() - interval '1 hour';

-- take_preview --
-- Locked until it is answered: two workers never make the same one.
select id, entity, mode, rows, mapping, tables, sample from mapping_previews
where tenant_id = %(tenant_id)s and state = 'waiting'
order by created_at, id
limit 1
for update skip locked;

-- answer_preview --
update mapping_previews
set state = %(state)s, answer = %(answer)s, sample = null
where tenant_id = %(tenant_id)s and id = %(id)s;
