-- Which versions were taken back, and what that keeps out.

-- undone_by --
-- The undo that stands against a version; null: none.
select undone_by from versions where tenant_id = %(tenant_id)s and version = %(undoes)s;

-- stands --
-- From now on the new version stands against the one it takes back.
update versions set undone_by = %(version)s
where tenant_id = %(tenant_id)s and version = %(undoes)s;

-- falls --
-- What the undone version itself took back is no longer undone.
update versions set undone_by = null
where tenant_id = %(tenant_id)s and undone_by = %(undoes)s;

-- unreleased --
-- The undos that still keep out what they took back, oldest first.
select version, undoes from versions
where tenant_id = %(tenant_id)s and kind = 'undo' and released_at is null and undone_by is null
order by version;
