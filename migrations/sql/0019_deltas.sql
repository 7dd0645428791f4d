-- depends: 0012_clients 0013_audit 0015_reads 0018_lines

-- What keeps downstream systems in step: sums of every version, records that a lens began or ceased to
-- show without a change of their own, lenses as they were, and an epoch that a restore changes.

set role rosterhub_owner;

-- Cursors bear it. After a restore numbers of versions are given a second time: a new epoch makes
-- every consumer begin again.
alter table rosterhub.districts add column feed_epoch uuid not null default gen_random_uuid();

-- What a version did is found by its number, also when later versions have changed the record again.
do $$
declare
    entity text;
begin
    foreach entity in array array[
        'orgs',
        'academic_sessions',
        'courses',
        'classes',
        'users',
        'user_profiles',
        'roles',
        'demographics',
        'enrollments'
    ] loop
        execute format(
            'create index %I on rosterhub.%I (tenant_id, version, sourced_id)',
            entity || '_history_by_version', entity || '_history'
        );
    end loop;
end
$$;

-- Counts and sums of what a lens showed at a version; the blank lens is the district's own view.
create table rosterhub.feed_sums (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    lens text collate "C" not null,
    version bigint not null,
    sums jsonb not null, -- {entity: {school, blank for all: [records, digest]}}
    made_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, lens, version)
);
call rosterhub.protect('rosterhub.feed_sums');
grant select, insert, update, delete on rosterhub.feed_sums to rosterhub_app;
create policy control on rosterhub.feed_sums for select to rosterhub_control using (true);
grant select (tenant_id, lens, version) on rosterhub.feed_sums to rosterhub_control;

-- Records that a version made visible, invisible or different without changing them.
create table rosterhub.feed_flips (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    lens text collate "C" not null,
    version bigint not null,
    entity text not null,
    sourced_id text collate "C" not null,
    action text not null, -- created, updated or deleted
    primary key (tenant_id, lens, version, entity, sourced_id)
);
call rosterhub.protect('rosterhub.feed_flips');
grant select, insert, delete on rosterhub.feed_flips to rosterhub_app;

-- For which version and which lenses a district was prepared last.
create table rosterhub.feed_progress (
    tenant_id integer primary key references rosterhub.districts on delete cascade,
    version bigint not null,
    lenses text not null
);
call rosterhub.protect('rosterhub.feed_progress');
grant select, insert, update, delete on rosterhub.feed_progress to rosterhub_app;
create policy control on rosterhub.feed_progress for select to rosterhub_control using (true);
grant select on rosterhub.feed_progress to rosterhub_control;

-- Lenses that clients had before: a cursor of such a revision goes on from what was seen with it.
create table rosterhub.lens_revisions (
    tenant_id integer not null,
    client_id text collate "C" not null,
    revision bigint not null,
    lens jsonb not null,
    ended_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, client_id, revision),
    foreign key (tenant_id, client_id) references rosterhub.clients on delete cascade
);
call rosterhub.protect('rosterhub.lens_revisions');
grant select, insert, delete on rosterhub.lens_revisions to rosterhub_app;
create policy control on rosterhub.lens_revisions to rosterhub_control
    using (true) with check (true);
grant insert on rosterhub.lens_revisions to rosterhub_control;

create function rosterhub.keep_lens() returns trigger
    language plpgsql
as $$
begin
    insert into rosterhub.lens_revisions (tenant_id, client_id, revision, lens)
    values (old.tenant_id, old.id, old.lens_revision, old.lens);
    return null;
end
$$;
create trigger keep_lens after update of lens_revision on rosterhub.clients
    for each row when (old.lens_revision <> new.lens_revision)
    execute function rosterhub.keep_lens();

reset role;
