-- Known lines: where they lie. The lines themselves are in the object store.

-- find --
-- Only as long as they stand for all active records.
select k.base, k.parts, k.patch, k.records from known_lines as k
where k.tenant_id = %(tenant_id)s and k.entity = %(entity)s and k.context = %(context)s
  and k.records = (
      select c.records from record_counts as c
      where c.tenant_id = k.tenant_id and c.entity = k.entity and c.status = 'active'
  );

-- keep --
insert into known_lines (tenant_id, entity, context, base, parts, patch, records)
values (
    %(tenant_id)s, %(entity)s, %(context)s, %(base)s, %(parts)s, %(patch)s, %(records)s
)
on conflict (tenant_id, entity) do update set
    context = excluded.context, base = excluded.base, parts = excluded.parts,
    patch = excluded.patch, records = excluded.records;

-- forget --
delete from known_lines where tenant_id = %(tenant_id)s and entity = %(entity)s;
