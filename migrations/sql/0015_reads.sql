-- depends: 0014_erasures

-- What reads by vendors need beside the roster: sort keys, and ways to the records that are asked for.

set role rosterhub_owner;

-- The order of texts by the Unicode Collation Algorithm, whatever the server was built with. A read
-- that sorts fills in what is missing, so imports pay nothing. A value is the beginning of a text.
-- Values are personal: whoever erases deletes them here, in a transaction that makes a version.
create table rosterhub.sort_keys (
    tenant_id integer not null references rosterhub.districts on delete cascade,
    value text collate "C" not null,
    key bytea not null,
    folded bytea, -- the key of the value without regard to case; null: the same
    primary key (tenant_id, value)
);
call rosterhub.protect('rosterhub.sort_keys');
grant select, insert, delete on rosterhub.sort_keys to rosterhub_app;

-- Text as a segment of an address, in the way of Python's urllib.parse.quote(…, safe="").
create function rosterhub.quoted(value text) returns text
    language sql immutable strict parallel safe
    return (
        select string_agg(
            case
                when sign ~ '[A-Za-z0-9_.~-]' then sign
                else regexp_replace(
                    upper(encode(convert_to(sign, 'UTF8'), 'hex')), '(..)', '%\1', 'g'
                )
            end,
            '' order by place
        )
        from regexp_split_to_table(value, '') with ordinality as signs (sign, place)
    );

-- Vendors look people up by what a login carries, in any case. By bytes, for row-level security lets
-- no lower(…) near an index: the reads try the spellings that are there.
create index users_by_email
    on rosterhub.users (tenant_id, email collate "C") where email is not null;
create index users_by_username
    on rosterhub.users (tenant_id, username collate "C") where username is not null;
create index users_by_identifier
    on rosterhub.users (tenant_id, identifier collate "C") where identifier is not null;
-- Students and teachers, of the district or of a school.
create index roles_by_role on rosterhub.roles (tenant_id, role, org_sourced_id);

reset role;
