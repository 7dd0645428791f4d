-- depends: 0016_exports 0019_deltas

-- Delta packages that are made ahead: who follows a district, and the files that are kept for them.

set role rosterhub_owner;

-- Who asks for the same gets the same package. Whoever has not asked for long is forgotten.
create table rosterhub.feed_followers (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    lens text collate "C" not null, -- blank: the district's own view
    demographics boolean not null, -- whether these may be seen
    profile text collate "C" not null, -- of CSV; blank: the events of the feed, a line each
    since bigint not null, -- behind this version no package is missing
    version bigint not null, -- up to this version packages are made
    asked_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, lens, demographics, profile),
    check (since <= version)
);
call rosterhub.protect('rosterhub.feed_followers');
grant select, insert, update, delete on rosterhub.feed_followers to rosterhub_app;
create policy control on rosterhub.feed_followers for select to rosterhub_control using (true);
grant select (tenant_id, version) on rosterhub.feed_followers to rosterhub_control;

-- A row is written when its file is whole; a file without a row is nobody's, and is swept.
create table rosterhub.feed_packages (
    tenant_id integer not null,
    id uuid not null,
    lens text collate "C" not null,
    demographics boolean not null,
    profile text collate "C" not null,
    version bigint not null, -- what it leads to
    since bigint, -- the package before it leads here; null: it is the whole roster
    base text not null, -- what the addresses in it begin with
    entries bigint not null, -- events, or rows
    name text not null,
    object_key text not null,
    bytes bigint not null,
    sha256 bytea not null,
    made_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id),
    unique (tenant_id, lens, demographics, profile, version),
    foreign key (tenant_id, lens, demographics, profile)
        references rosterhub.feed_followers on delete cascade
);
create index feed_packages_oldest on rosterhub.feed_packages (tenant_id, made_at);
call rosterhub.protect('rosterhub.feed_packages');
grant select, insert, delete on rosterhub.feed_packages to rosterhub_app;

reset role;
