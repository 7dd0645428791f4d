-- First loads that are open (pipeline.loads).

-- work_for --
select set_config('rosterhub.load', %(token)s, true);

-- version --
-- A look without the lock: who finds a version need not wait for who makes the next one.
select version from districts where tenant_id = %(tenant_id)s;

-- open --
insert into loads (tenant_id, token) values (%(tenant_id)s, %(token)s);

-- open_loads --
select token from loads where tenant_id = %(tenant_id)s;

-- close --
-- Waits for every lane that still works for it.
delete from loads where tenant_id = %(tenant_id)s;

-- left --
-- Districts with an open load, and nobody at it (control role).
select distinct l.tenant_id from loads as l
where not exists (
    select from runs as r where r.tenant_id = l.tenant_id and r.state = 'running'
);
