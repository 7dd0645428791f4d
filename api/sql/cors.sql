-- listing --
select cors_origins.origin, array_agg(cors_origins.tenant_id) as tenants
from cors_origins
join districts using (tenant_id)
where cors_origins.origin = any(%s)
    and districts.deleted_at is null
group by cors_origins.origin

-- of_district --
select origin
from cors_origins
where tenant_id = %s
order by origin

-- take_turns --
select pg_advisory_xact_lock(hashtext('rosterhub.cors_origins'), %s)

-- clear --
delete from cors_origins
where tenant_id = %s

-- put --
insert into cors_origins (tenant_id, origin)
select %s, unnest(%s::text[])
