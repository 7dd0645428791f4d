-- read --
select policy
from districts
where tenant_id = %s

-- be_brief --
-- An import holds its district until it ends; nobody waits for that with a request in hand.
select set_config('lock_timeout', '2s', true)

-- hold --
select policy
from districts
where tenant_id = %s
for no key update

-- write --
update districts
set policy = %s
where tenant_id = %s
