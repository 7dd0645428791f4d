-- hold --
-- The run, until this transaction has answered it.
select id, kind, state, diff, base_version, exclusions, rekey, decision, guard
from runs
where tenant_id = %(tenant_id)s
    and id = %(run_id)s
for update

-- version --
select version
from districts
where tenant_id = %(tenant_id)s

-- decide --
-- A worker goes on with it at once: its attempts are counted anew.
update runs
set
    state = 'queued',
    decision = %(decision)s::jsonb || jsonb_build_object('at', clock_timestamp()),
    next_run_at = clock_timestamp(),
    attempts = 0,
    failure = null
where tenant_id = %(tenant_id)s
    and id = %(run_id)s

-- reject --
update runs
set
    state = 'rejected',
    finished_at = clock_timestamp(),
    decision = %(decision)s::jsonb || jsonb_build_object('at', clock_timestamp()),
    failure = null
where tenant_id = %(tenant_id)s
    and id = %(run_id)s

-- schools --
select school, entity, created, updated, deleted
from run_previews
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
    and (%(school)s::text is null or school = %(school)s)
    and (%(entity)s::text is null or entity = %(entity)s)
    and (
        %(after_school)s::text is null
        or (school, entity) > (%(after_school)s, %(after_entity)s)
    )
order by school, entity
limit %(limit)s

-- rekey_page --
-- The proposed map, behind a place; the table is that of the run.
select entity, source_id, hub_id, alike
from {map}
where (%(entity)s::text is null or entity = %(entity)s)
    and (%(after_entity)s::text is null or (entity, source_id) > (%(after_entity)s, %(after_id)s))
order by entity, source_id
limit %(limit)s

-- shown --
-- What a run showed, and whether it is still kept.
select
    id,
    state,
    diff,
    base_version,
    preview,
    guard,
    exclusions,
    rekey,
    to_regclass(%(table)s) is not null as kept
from runs
where tenant_id = %(tenant_id)s
    and id = %(run_id)s
