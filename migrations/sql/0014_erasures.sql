-- depends: 0013_audit

-- Personal data has one way out: an erasure is a run that wipes it wherever it is kept. What stays is
-- (sourcedId, version) as a tombstone, under a digest that no record has (pipeline/digests.py).

set role rosterhub_owner;

alter table rosterhub.runs
    drop constraint runs_kind_check,
    add constraint runs_kind_check check (kind in ('import', 'undo', 'erasure'));

create table rosterhub.erasures (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    run_id uuid not null,
    cause text not null check (cause in ('request', 'retention')),
    users text[] not null default '{}', -- the sourcedIds that a request names
    reference text, -- a number of somebody's files, never a name
    keep_out boolean not null default false, -- packages do not bring them back until it is released
    released_at timestamptz,
    due_on date, -- the day of a retention: there is one a day
    history_until bigint, -- before-images that ended with this version, or earlier, are wiped
    files jsonb not null default '{}', -- {store: files deleted}, counted before the receipt is made
    receipt jsonb,
    primary key (tenant_id, run_id),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade,
    check ((cause = 'retention') = (due_on is not null))
);
create unique index erasures_daily on rosterhub.erasures (tenant_id, due_on)
    where due_on is not null;
call rosterhub.protect('rosterhub.erasures');
grant select, insert, delete, update (keep_out, released_at, history_until, files, receipt)
    on rosterhub.erasures to rosterhub_app;

-- Whom packages do not bring back: ids and nothing else.
create table rosterhub.kept_out (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    run_id uuid not null,
    primary key (tenant_id, sourced_id),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade
);
create index kept_out_by_run on rosterhub.kept_out (tenant_id, run_id);
call rosterhub.protect('rosterhub.kept_out');
grant select, insert, update, delete on rosterhub.kept_out to rosterhub_app;

-- A finding is written once; an erasure takes from it what it says of a person.
grant update (value, facts, "row") on rosterhub.findings to rosterhub_app;

-- Deleted records that still say something of a person, and people of whom nothing is left: both are
-- looked for again and again, and there are few.
create index users_to_erase on rosterhub.users (tenant_id, version)
    where status = 'tobedeleted' and digest <> 'ffffffff-ffff-ffff-ffff-ffffffffffff';
create index user_profiles_to_erase on rosterhub.user_profiles (tenant_id, version)
    where status = 'tobedeleted' and digest <> 'ffffffff-ffff-ffff-ffff-ffffffffffff';
create index demographics_to_erase on rosterhub.demographics (tenant_id, version)
    where status = 'tobedeleted' and digest <> 'ffffffff-ffff-ffff-ffff-ffffffffffff';
create index roles_to_erase on rosterhub.roles (tenant_id, version)
    where status = 'tobedeleted' and digest <> 'ffffffff-ffff-ffff-ffff-ffffffffffff'
        and metadata is not null;
create index enrollments_to_erase on rosterhub.enrollments (tenant_id, version)
    where status = 'tobedeleted' and digest <> 'ffffffff-ffff-ffff-ffff-ffffffffffff'
        and (shusseki_no is not null or metadata is not null);
create index users_erased on rosterhub.users (tenant_id, sourced_id)
    where digest = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

reset role;
