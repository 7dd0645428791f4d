-- A district's mappings and lookup tables, as an import finds them.

-- current --
-- The newest version of each entity, but for one that was reset to the default, whose mapping is
-- null; and, where there is any, the lookup tables, without a version.
with used as (
    select distinct on (entity) entity, version, mapping
    from mappings
    where tenant_id = %(tenant_id)s
    order by entity, version desc
)
select entity, version, mapping from used where mapping is not null
union all
select name, null, entries from mapping_tables
where tenant_id = %(tenant_id)s and exists (select from used where mapping is not null);

-- previews_due --
-- Districts with a preview to make, or with one that is too old to be kept (control role).
select distinct tenant_id from mapping_previews
where state = 'waiting' or created_at < clock_timestamp() - interval '1 hour';

-- forget_previews --
delete from mapping_previews
where tenant_id = %(tenant_id)s and created_at < clock_timestamp() - interval '1 hour';

-- take_preview --
-- Locked until it is answered: two workers never make the same one.
select p.id, p.entity, p.mode, p.rows, p.mapping, p.tables, p.sample, d.policy
from mapping_previews as p join districts as d using (tenant_id)
where p.tenant_id = %(tenant_id)s and p.state = 'waiting'
order by p.created_at, p.id
limit 1
for update of p skip locked;

-- answer_preview --
update mapping_previews
set state = %(state)s, answer = %(answer)s, sample = null
where tenant_id = %(tenant_id)s and id = %(id)s;
