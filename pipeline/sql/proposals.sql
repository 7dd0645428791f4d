-- Runs that wait for an answer, and the answers. Only a claimed run is changed, under its fence.

-- asked --
-- What was asked of the run when it came, and what was answered since.
select apply, as_of, base_version, diff, preview, modes, guard, decision, exclusions, profile, findings
from runs where tenant_id = %(tenant_id)s and id = %(id)s;

-- wait --
-- It is somebody's turn now: no lease, no end.
update runs set
    state = %(state)s, stage = 'check', lease_until = null, worker = null, profile = %(profile)s,
    progress = %(progress)s, findings = %(findings)s, base_version = %(base_version)s,
    diff = %(diff)s, preview = %(preview)s, modes = %(modes)s, guard = %(guard)s, failure = null
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning id;

-- wait_again --
-- An answer that could not be carried out, or that asked for another preview.
update runs set
    state = case when jsonb_array_length(guard -> 'reasons') > 0 then 'held' else 'review' end,
    stage = 'check', lease_until = null, worker = null, decision = null,
    exclusions = coalesce(%(exclusions)s, exclusions), rekey = coalesce(%(rekey)s, rekey),
    failure = %(failure)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running'
returning state;

-- note --
-- What the guard said of a run that nothing held.
update runs set guard = %(guard)s, base_version = %(base_version)s, diff = %(diff)s
where tenant_id = %(tenant_id)s and id = %(id)s and fence = %(fence)s and state = 'running';

-- add_preview --
insert into run_previews (tenant_id, run_id, entity, school, created, updated, deleted)
select %(tenant_id)s, %(id)s, * from unnest(
    %(entities)s::text[], %(schools)s::text[], %(created)s::bigint[], %(updated)s::bigint[],
    %(deleted)s::bigint[]
);

-- older_waits --
-- Whether there may be one of those below, which nobody has locked: who is to answer it would wait
-- until this import is over.
select exists (
    select from runs as o
    join runs as r on r.tenant_id = o.tenant_id and r.id = %(id)s
    where o.tenant_id = %(tenant_id)s and o.kind = 'import'
      and (o.created_at, o.id) < (r.created_at, r.id)
      and (o.state in ('review', 'held') or o.state = 'queued' and o.decision is not null)
);

-- waiting --
-- Older imports to which nobody has said yes. One that was approved counts once this one is applied:
-- its base is another then, whatever was answered.
select o.id, o.modes, o.diff, o.preview from runs as o
join runs as r on r.tenant_id = o.tenant_id and r.id = %(id)s
where o.tenant_id = %(tenant_id)s and o.kind = 'import'
  and (o.created_at, o.id) < (r.created_at, r.id)
  and (
    o.state in ('review', 'held')
    or o.state = 'queued' and (o.decision ->> 'kind' in ('exclude', 'rekey') or %(applied)s and o.decision is not null)
  )
order by o.created_at, o.id
for update of o;

-- supersede --
update runs set
    state = 'superseded', finished_at = clock_timestamp(), superseded_by = %(id)s
where tenant_id = %(tenant_id)s and id = any(%(older)s)
returning id, entity;

-- supersedes --
update runs set supersedes = %(supersedes)s where tenant_id = %(tenant_id)s and id = %(id)s;

-- kept --
-- The tables of change sets that are kept.
select tablename from pg_tables
where schemaname = 'rosterhub_staging' and starts_with(tablename, 'kept_');

-- needed --
-- The runs whose change sets somebody may still look at (control role).
select r.id from runs as r join districts as d using (tenant_id)
where r.finished_at is null or r.finished_at > now() - make_interval(
    secs => 3600 * coalesce((d.policy ->> 'uploads_hours')::double precision, 24)
);

-- older_package --
-- The day of the newest package that was applied.
select max(as_of) from runs
where tenant_id = %(tenant_id)s and kind = 'import' and state = 'applied' and id <> %(id)s;

-- active --
select entity, records from record_counts where tenant_id = %(tenant_id)s and status = 'active';
