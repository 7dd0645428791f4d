-- page --
-- An alias stands as long as the version that made it is not undone.
select
    a.entity,
    a.source_id as "sourcedId",
    a.hub_id as "hubSourcedId",
    a.version
from aliases as a
join versions as v on v.tenant_id = a.tenant_id
    and v.version = a.version
    and v.undone_by is null
where a.tenant_id = %(tenant_id)s
    and (%(entity)s::text is null or a.entity = %(entity)s)
    and (%(id)s::text is null or a.source_id = %(id)s or a.hub_id = %(id)s)
    and (
        %(after_entity)s::text is null
        or (a.entity, a.source_id) > (%(after_entity)s, %(after_id)s)
    )
order by a.entity, a.source_id
limit %(limit)s
