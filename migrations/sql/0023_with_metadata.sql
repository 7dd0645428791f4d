-- depends: 0022_rung

-- An export names the metadata that no profile declares, of all rows that there are; mostly nobody
-- has any, and to be told so by reading a million rows took longer than sorting them.

set role rosterhub_owner;

create index orgs_with_metadata
    on rosterhub.orgs (tenant_id) where metadata is not null;
create index academic_sessions_with_metadata
    on rosterhub.academic_sessions (tenant_id) where metadata is not null;
create index courses_with_metadata
    on rosterhub.courses (tenant_id) where metadata is not null;
create index classes_with_metadata
    on rosterhub.classes (tenant_id) where metadata is not null;
create index users_with_metadata
    on rosterhub.users (tenant_id) where metadata is not null;
create index user_profiles_with_metadata
    on rosterhub.user_profiles (tenant_id) where metadata is not null;
create index roles_with_metadata
    on rosterhub.roles (tenant_id) where metadata is not null;
create index demographics_with_metadata
    on rosterhub.demographics (tenant_id) where metadata is not null;
create index enrollments_with_metadata
    on rosterhub.enrollments (tenant_id) where metadata is not null;

reset role;
