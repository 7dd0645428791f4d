-- depends: 0004_policies

-- A version can be taken back: an undo is a run like an import, and makes a version of its own.

set role rosterhub_owner;

-- Every kind of run writes its district; a kind to come is one more word here.
alter table rosterhub.runs
    drop constraint runs_kind_check,
    add constraint runs_kind_check check (kind in ('import', 'undo')),
    add column undoes bigint, -- the version that an undo takes back
    alter column upload_id drop not null,
    add constraint runs_undoes_check check ((kind = 'undo') = (undoes is not null)),
    add constraint runs_upload_check check ((kind = 'import') = (upload_id is not null));
drop index rosterhub.runs_one_import;
-- A district has one writer at a time.
create unique index runs_one_writer on rosterhub.runs (tenant_id) where state = 'running';

-- undoes: what an undo took back. undone_by: the undo that stands against this version; null again
-- when that undo is itself undone. released_at: from then on the undone may be imported again.
alter table rosterhub.versions
    add column undoes bigint,
    add column undone_by bigint,
    add column released_at timestamptz;
grant update (undone_by, released_at) on rosterhub.versions to rosterhub_app;

-- Parts as they were are looked up by their users.
create index roles_history_by_user on rosterhub.roles_history (tenant_id, user_sourced_id);
create index user_profiles_history_by_user
    on rosterhub.user_profiles_history (tenant_id, user_sourced_id);

reset role;
