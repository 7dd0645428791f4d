-- depends: 0004_policies 0008_runs

-- Runs that wait for an answer: what they would change is kept in rosterhub_staging.kept_<run>_*, and
-- here stand its counts, its hash, the reasons of the guard, and what was answered.

set role rosterhub_owner;

alter table rosterhub.runs
    add column apply text check (apply in ('at_once', 'review')), -- null: as the policy says
    add column as_of date, -- the day of the package; null: unknown
    add column base_version bigint, -- what the change set was made for
    add column diff text collate "C", -- the hash of the change set
    add column preview jsonb, -- {entity: {rows, created, updated, deleted, unchanged}}
    add column modes jsonb, -- {entity: bulk, delta or upsert}
    add column guard jsonb, -- {reasons: […], skipped: […]}
    add column decision jsonb, -- {kind: approve, exclude or reject, diff, except, by, at}
    add column exclusions jsonb, -- what leaving schools or entities out would come to
    add column supersedes jsonb, -- {run, same, counts} of the run that waited before this one
    add column superseded_by uuid,
    add constraint runs_superseded_by check (superseded_by is null or state = 'superseded');
create index runs_waiting on rosterhub.runs (tenant_id, created_at, id)
    where state in ('review', 'held');
-- Which change sets are still kept, and whose newer import waits for an answer to an older one.
grant select (finished_at, base_version) on rosterhub.runs to rosterhub_control;

-- What a run would change, by school; a record of several counts for each.
create table rosterhub.run_previews (
    tenant_id integer not null,
    run_id uuid not null,
    entity text not null,
    school text collate "C" not null,
    created bigint not null,
    updated bigint not null,
    deleted bigint not null,
    primary key (tenant_id, run_id, school, entity),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade
);
call rosterhub.protect('rosterhub.run_previews');
grant select, insert, delete on rosterhub.run_previews to rosterhub_app;

reset role;
