-- depends: 0004_policies

-- Findings as people use them: counted by rule, file and school, and grouped by what to correct.
-- All of it is written once, at the end of a run, so that nothing is counted when somebody looks.

set role rosterhub_owner;

alter table rosterhub.findings
    add column group_rank integer; -- the group it belongs to, with what it follows from

-- The rows of a file in their order, each with all that was found in it.
create index findings_by_line on rosterhub.findings (tenant_id, run_id, file, line, seq)
    where line is not null;
create index findings_by_group on rosterhub.findings (tenant_id, run_id, group_rank, seq);

create table rosterhub.finding_counts (
    tenant_id integer not null,
    run_id uuid not null,
    rule text not null,
    severity text not null check (severity in ('error', 'warning', 'info')),
    file text not null,
    school text collate "C" not null, -- sourcedId as it came; blank: the row does not say
    findings integer not null,
    followers integer not null, -- that follow from another finding
    first integer not null, -- seq of the first of them
    primary key (tenant_id, run_id, rule, severity, file, school),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade
);
call rosterhub.protect('rosterhub.finding_counts');
grant select, insert, delete on rosterhub.finding_counts to rosterhub_app;

create table rosterhub.finding_groups (
    tenant_id integer not null,
    run_id uuid not null,
    rank integer not null, -- 1: correct this first
    seq integer not null, -- the first finding of the group
    cause text not null, -- row, record or rule: what one correction is about
    findings integer not null,
    followers integer not null,
    primary key (tenant_id, run_id, rank),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade
);
call rosterhub.protect('rosterhub.finding_groups');
grant select, insert, delete on rosterhub.finding_groups to rosterhub_app;

-- How the files with findings named their columns: a row is given back under its own header.
create table rosterhub.finding_files (
    tenant_id integer not null,
    run_id uuid not null,
    file text not null,
    header text[] not null,
    primary key (tenant_id, run_id, file),
    foreign key (tenant_id, run_id) references rosterhub.runs on delete cascade
);
call rosterhub.protect('rosterhub.finding_files');
grant select, insert, delete on rosterhub.finding_files to rosterhub_app;

reset role;
