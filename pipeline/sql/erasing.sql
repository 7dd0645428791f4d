-- Erasures. Who is erased stands in temporary tables: people by all their ids, keys of their records,
-- and words that tell them from others.

-- asked --
select e.cause, e.users, e.reference, e.keep_out, d.id, d.policy
from erasures as e join districts as d using (tenant_id)
where e.tenant_id = %(tenant_id)s and e.run_id = %(id)s;

-- tables --
create temporary table if not exists erased_people (
    sourced_id text collate "C" primary key
) on commit drop;
create temporary table if not exists erased_keys (
    sourced_id text collate "C" primary key
) on commit drop;
create temporary table if not exists erased_words (word text primary key) on commit drop;
delete from pg_temp.erased_people;
delete from pg_temp.erased_keys;
delete from pg_temp.erased_words;

-- name_people --
insert into pg_temp.erased_people
select distinct u.id from unnest(%(users)s::text[]) as u (id)
on conflict do nothing;

-- deleted_people --
insert into pg_temp.erased_people
select sourced_id from users
where tenant_id = %(tenant_id)s and status = 'tobedeleted' and digest <> %(erased)s
  and version <= %(deleted)s
on conflict do nothing;

-- kept_out_people --
insert into pg_temp.erased_people
select sourced_id from kept_out where tenant_id = %(tenant_id)s
on conflict do nothing;

-- name_aliases --
-- A person is one person, by the hub's id and by those of the source.
insert into pg_temp.erased_people
with standing as (
    select a.source_id, a.hub_id from aliases as a join versions as v using (tenant_id, version)
    where a.tenant_id = %(tenant_id)s and a.entity = %(space)s and v.undone_by is null
), hubs as (
    select sourced_id as id from pg_temp.erased_people
    union
    select s.hub_id from standing as s join pg_temp.erased_people as p on p.sourced_id = s.source_id
)
select id from hubs
union
select s.source_id from standing as s join hubs on hubs.id = s.hub_id
on conflict do nothing;

-- analyze --
analyze pg_temp.erased_people;

-- name_themselves --
insert into pg_temp.erased_keys select sourced_id from pg_temp.erased_people on conflict do nothing;

-- aliased --
select source_id from aliases
where tenant_id = %(tenant_id)s and entity = %(space)s and source_id = any(%(users)s);

-- keep_out --
insert into kept_out (tenant_id, sourced_id, run_id)
select %(tenant_id)s, sourced_id, %(id)s from pg_temp.erased_people
on conflict (tenant_id, sourced_id) do update set run_id = excluded.run_id;

-- some_kept_out --
select exists (select from kept_out where tenant_id = %(tenant_id)s);

-- some_erased --
-- Whether a package may bring anybody back: people who are kept out, and people who just went.
select exists (select from kept_out where tenant_id = %(tenant_id)s)
    or exists (select from users where tenant_id = %(tenant_id)s and digest = %(erased)s);

-- wipe_findings --
-- What a finding says of a person: of their records; of others where it names them; and of nobody,
-- where it has their words. What is wrong where is still told. No identifier has a blank, a comma or
-- a quote in it.
update findings as f set value = null, facts = '{"value": "…"}', "row" = null
where f.tenant_id = %(tenant_id)s and (%(run_id)s::uuid is null or f.run_id = %(run_id)s)
  and (
    f.value is not null or f."row" is not null or f.facts not in ('{}', '{"value": "…"}')
  )
  and (
    f.sourced_id in (select sourced_id from pg_temp.erased_keys)
    or exists (
        select from regexp_split_to_table(
            concat_ws(',', f.value, f."row", f.facts::text), '[",[:space:]]+'
        ) as said (word)
        where said.word in (select sourced_id from pg_temp.erased_people)
    )
    or f.sourced_id is null and exists (
        select from regexp_split_to_table(concat_ws(',', f.value, f."row"), '[",[:space:]]+')
            as said (word)
        where said.word in (select word from pg_temp.erased_words)
    )
  );

-- wipe_previews --
-- Samples of somebody's roster: gone an hour later anyway.
delete from mapping_previews where tenant_id = %(tenant_id)s;

-- has_sort_keys --
select to_regclass('rosterhub.sort_keys') is not null;

-- wipe_sort_keys --
delete from sort_keys where tenant_id = %(tenant_id)s;

-- runs --
-- Which of these runs are the district's.
select id from runs where tenant_id = %(tenant_id)s and id = any(%(runs)s);

-- uploads --
-- Packages that may hold who is erased. A run that is still to come needs its own, and leaves out
-- who is kept out.
select u.id from uploads as u
where u.tenant_id = %(tenant_id)s and u.deleted_at is null
  and (%(id)s::uuid is null or u.id = %(id)s)
  and (%(days)s::integer is null or u.created_at < now() - make_interval(days => %(days)s))
  and not exists (
      select from runs as r
      where r.tenant_id = u.tenant_id and r.upload_id = u.id and r.state in ('queued', 'running')
  );

-- hold_upload --
-- Whoever wants to import it again waits, and then sees that it is gone.
select object_key from uploads
where tenant_id = %(tenant_id)s and id = %(id)s and deleted_at is null
for update;

-- mark_deleted --
update uploads set deleted_at = now() where tenant_id = %(tenant_id)s and id = %(id)s;

-- known_uploads --
select object_key from uploads where tenant_id = %(tenant_id)s;

-- forget_lines --
delete from known_lines where tenant_id = %(tenant_id)s;

-- count_files --
update erasures set files = jsonb_set(
    files, array[%(store)s::text],
    to_jsonb(coalesce((files ->> %(store)s::text)::bigint, 0) + %(number)s::bigint)
)
where tenant_id = %(tenant_id)s and run_id = %(run_id)s;

-- files --
select files from erasures where tenant_id = %(tenant_id)s and run_id = %(id)s;

-- keep_receipt --
update erasures set receipt = %(receipt)s, history_until = %(history_until)s
where tenant_id = %(tenant_id)s and run_id = %(id)s;

-- version_before --
-- The newest version that is so many days old; null days: none ever is.
select coalesce(max(version), 0) from versions
where tenant_id = %(tenant_id)s and published_at < now() - make_interval(days => %(days)s);

-- history_wiped --
-- Up to which version before-images are wiped already.
select coalesce(max(history_until), 0) from erasures
where tenant_id = %(tenant_id)s and receipt is not null;

-- filed_today --
select exists (select from erasures where tenant_id = %(tenant_id)s and due_on = current_date);

-- file --
-- One a day, whoever files it.
with filed as (
    insert into erasures (tenant_id, run_id, cause, due_on)
    values (%(tenant_id)s, %(id)s, 'retention', current_date)
    on conflict (tenant_id, due_on) where due_on is not null do nothing
    returning tenant_id, run_id
)
insert into runs (tenant_id, id, kind, created_by)
select tenant_id, run_id, 'erasure', %(created_by)s from filed
returning id;
