-- depends: 0003_roster

-- What a district decides about its imports (schemas/policy.py), and more about each finding.

set role rosterhub_owner;

alter table rosterhub.districts add column policy jsonb not null default '{}';
grant update (policy) on rosterhub.districts to rosterhub_app;

alter table rosterhub.findings
    add column school text collate "C",
    add column "row" text; -- the line as it came

reset role;
