-- Which of a source's sourcedIds stand for which of the hub's.

-- standing --
-- The versions that made aliases and are not undone: an index tells them one by one.
with recursive made as (
    select min(version) as version from aliases where tenant_id = %(tenant_id)s
    union all
    select (
        select min(a.version) from aliases as a
        where a.tenant_id = %(tenant_id)s and a.version > m.version
    )
    from made as m where m.version is not null
)
select v.version from made join versions as v using (version)
where v.tenant_id = %(tenant_id)s and v.undone_by is null
order by v.version;

-- named --
select source_id, hub_id from aliases
where tenant_id = %(tenant_id)s and entity = %(entity)s and source_id = any(%(ids)s)
  and version = any(%(versions)s);

-- newest --
select distinct on (hub_id) hub_id, source_id from aliases
where tenant_id = %(tenant_id)s and entity = %(entity)s and hub_id = any(%(ids)s)
  and version = any(%(versions)s)
order by hub_id, version desc, source_id;

-- of_version --
-- How many records of each file an undo gives their sourcedIds back, or takes them once more.
select entity, count(*) from aliases
where tenant_id = %(tenant_id)s and version in (
    select %(undoes)s::bigint
    union all
    select undoes from versions where tenant_id = %(tenant_id)s and version = %(undoes)s
)
group by entity;
