-- all --
select id, name, created_at
from districts
where deleted_at is null
order by id

-- one --
select id, name, created_at
from districts
where id = %s
    and deleted_at is null

-- create --
insert into districts (id, name)
values (%s, %s)
returning id, name, created_at

-- delete --
update districts
set deleted_at = now()
where id = %s
    and deleted_at is null
returning tenant_id
