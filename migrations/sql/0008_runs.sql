-- depends: 0004_policies

-- Runs as people manage them: who took one back, what was tried again, and whose turn it is.

set role rosterhub_owner;

alter table rosterhub.runs
    add column retry_of uuid, -- the run whose upload is imported again; null too when that is gone
    add column cancelled_by text, -- the key that asked for it
    add constraint runs_retry_of foreign key (tenant_id, retry_of) references rosterhub.runs
        on delete set null (retry_of),
    add constraint runs_cancelled_by check (cancelled_by is null or state = 'cancelled');
create index runs_by_retry on rosterhub.runs (tenant_id, retry_of) where retry_of is not null;
-- Whether an upload is still needed, and which runs are old.
create index runs_by_upload on rosterhub.runs (tenant_id, upload_id);
create index runs_finished on rosterhub.runs (tenant_id, finished_at)
    where finished_at is not null;
-- The district that was served longest ago comes next.
create index runs_started on rosterhub.runs (tenant_id, started_at) where started_at is not null;
grant select (started_at) on rosterhub.runs to rosterhub_control;

reset role;
