-- depends: 0002_districts

-- The roster as it stands, and as it was. Columns follow schemas/roster (a test compares them).
-- Identifiers compare by bytes (collate "C"): the same order on every server, and faster.
-- A history row is a before-image: true from its version until before until_version.
-- No foreign keys: references are import rules, checked set-wise before anything is written.
-- Personal values may be null, for erasure wipes them.

set role rosterhub_owner;

create table rosterhub.orgs (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    name text not null,
    type text not null,
    identifier text,
    parent_sourced_id text collate "C",
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index orgs_by_version on rosterhub.orgs (tenant_id, version);
create index orgs_by_parent
    on rosterhub.orgs (tenant_id, parent_sourced_id);
create table rosterhub.orgs_history (
    like rosterhub.orgs,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index orgs_history_by_until
    on rosterhub.orgs_history (tenant_id, until_version);

create table rosterhub.academic_sessions (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    title text not null,
    type text not null,
    start_date date not null,
    end_date date not null,
    parent_sourced_id text collate "C",
    school_year text not null,
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index academic_sessions_by_version on rosterhub.academic_sessions (tenant_id, version);
create index academic_sessions_by_parent
    on rosterhub.academic_sessions (tenant_id, parent_sourced_id);
create table rosterhub.academic_sessions_history (
    like rosterhub.academic_sessions,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index academic_sessions_history_by_until
    on rosterhub.academic_sessions_history (tenant_id, until_version);

create table rosterhub.courses (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    school_year_sourced_id text collate "C",
    title text not null,
    course_code text,
    grades text[],
    org_sourced_id text collate "C" not null,
    subjects text[],
    subject_codes text[],
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index courses_by_version on rosterhub.courses (tenant_id, version);
create index courses_by_org
    on rosterhub.courses (tenant_id, org_sourced_id);
create table rosterhub.courses_history (
    like rosterhub.courses,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index courses_history_by_until
    on rosterhub.courses_history (tenant_id, until_version);

create table rosterhub.classes (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    title text not null,
    grades text[],
    course_sourced_id text collate "C" not null,
    class_code text,
    class_type text not null,
    location text,
    school_sourced_id text collate "C" not null,
    term_sourced_ids text[] collate "C" not null,
    subjects text[],
    subject_codes text[],
    periods text[],
    special_needs boolean,
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index classes_by_version on rosterhub.classes (tenant_id, version);
create index classes_by_course
    on rosterhub.classes (tenant_id, course_sourced_id);
create index classes_by_school
    on rosterhub.classes (tenant_id, school_sourced_id);
create table rosterhub.classes_history (
    like rosterhub.classes,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index classes_history_by_until
    on rosterhub.classes_history (tenant_id, until_version);

create table rosterhub.users (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    enabled_user boolean not null,
    username text,
    user_ids text[],
    given_name text,
    family_name text,
    middle_name text,
    identifier text,
    email text,
    sms text,
    phone text,
    agent_sourced_ids text[] collate "C",
    grades text[],
    user_master_identifier text,
    resource_sourced_ids text[] collate "C",
    preferred_given_name text,
    preferred_middle_name text,
    preferred_family_name text,
    primary_org_sourced_id text collate "C",
    pronouns text,
    kana_given_name text,
    kana_family_name text,
    kana_middle_name text,
    home_class text collate "C",
    kana_preferred_family_name text,
    kana_preferred_given_name text,
    kana_preferred_middle_name text,
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index users_by_version on rosterhub.users (tenant_id, version);
create table rosterhub.users_history (
    like rosterhub.users,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index users_history_by_until
    on rosterhub.users_history (tenant_id, until_version);

create table rosterhub.user_profiles (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    user_sourced_id text collate "C" not null,
    profile_type text not null,
    vendor_id text not null,
    application_id text,
    description text,
    credential_type text not null,
    username text,
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index user_profiles_by_version on rosterhub.user_profiles (tenant_id, version);
create index user_profiles_by_user
    on rosterhub.user_profiles (tenant_id, user_sourced_id);
create table rosterhub.user_profiles_history (
    like rosterhub.user_profiles,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index user_profiles_history_by_until
    on rosterhub.user_profiles_history (tenant_id, until_version);

create table rosterhub.roles (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    user_sourced_id text collate "C" not null,
    role_type text not null,
    role text not null,
    begin_date date,
    end_date date,
    org_sourced_id text collate "C" not null,
    user_profile_sourced_id text collate "C",
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index roles_by_version on rosterhub.roles (tenant_id, version);
create index roles_by_user
    on rosterhub.roles (tenant_id, user_sourced_id);
create table rosterhub.roles_history (
    like rosterhub.roles,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index roles_history_by_until
    on rosterhub.roles_history (tenant_id, until_version);

create table rosterhub.demographics (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    birth_date date,
    sex text,
    american_indian_or_alaska_native boolean,
    asian boolean,
    black_or_african_american boolean,
    native_hawaiian_or_other_pacific_islander boolean,
    white boolean,
    demographic_race_two_or_more_races boolean,
    hispanic_or_latino_ethnicity boolean,
    country_of_birth_code text,
    state_of_birth_abbreviation text,
    city_of_birth text,
    public_school_residence_status text,
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index demographics_by_version on rosterhub.demographics (tenant_id, version);
create table rosterhub.demographics_history (
    like rosterhub.demographics,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index demographics_history_by_until
    on rosterhub.demographics_history (tenant_id, until_version);

create table rosterhub.enrollments (
    tenant_id integer not null,
    sourced_id text collate "C" not null,
    status text not null check (status in ('active', 'tobedeleted')),
    class_sourced_id text collate "C" not null,
    school_sourced_id text collate "C" not null,
    user_sourced_id text collate "C" not null,
    role text not null,
    "primary" boolean,
    begin_date date,
    end_date date,
    shusseki_no bigint,
    public_flg boolean,
    metadata jsonb,
    version bigint not null,
    created_version bigint not null,
    digest uuid not null,
    primary key (tenant_id, sourced_id)
);
create index enrollments_by_version on rosterhub.enrollments (tenant_id, version);
create index enrollments_by_class
    on rosterhub.enrollments (tenant_id, class_sourced_id);
create index enrollments_by_user
    on rosterhub.enrollments (tenant_id, user_sourced_id);
create table rosterhub.enrollments_history (
    like rosterhub.enrollments,
    until_version bigint not null,
    primary key (tenant_id, sourced_id, version),
    check (version < until_version)
);
create index enrollments_history_by_until
    on rosterhub.enrollments_history (tenant_id, until_version);

-- The app role reads and merges; it never truncates, and it owns nothing here.
do $$
declare
    entity text;
    relation text;
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
        foreach relation in array array[entity, entity || '_history'] loop
            call rosterhub.protect(format('rosterhub.%I', relation)::regclass);
            execute format(
                'grant select, insert, update, delete on rosterhub.%I to rosterhub_app', relation
            );
        end loop;
    end loop;
end
$$;

-- After a large change the planner must not wait for autovacuum: the next import's joins depend on
-- it. ANALYZE is the owner's right, so the owner lends it, for roster tables only.
create procedure rosterhub.refresh_statistics(relation text)
    language plpgsql security definer set search_path = rosterhub, pg_temp
as $$
begin
    execute format('analyze rosterhub.%I', relation);
end
$$;
revoke all on procedure rosterhub.refresh_statistics(text) from public;
grant execute on procedure rosterhub.refresh_statistics(text) to rosterhub_app;

reset role;
