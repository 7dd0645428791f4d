-- lens --
select lens, lens_revision
from clients
where tenant_id = %(tenant_id)s
    and id = %(client_id)s

-- hold --
select lens, lens_revision
from clients
where tenant_id = %(tenant_id)s
    and id = %(client_id)s
for no key update

-- change --
update clients
set
    lens = %(lens)s,
    lens_revision = lens_revision + 1
where tenant_id = %(tenant_id)s
    and id = %(client_id)s
returning lens, lens_revision

-- unknown_schools --
-- Not what was deleted: that was a school once.
select named.school
from unnest(%(schools)s::text[]) as named (school)
where not exists (
        select
        from orgs
        where orgs.tenant_id = %(tenant_id)s
            and orgs.sourced_id = named.school
    )
order by named.school
