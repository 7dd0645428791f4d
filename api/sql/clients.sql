-- all --
select
    id, name, enabled, scopes, networks::text[] as networks, rate_limit, lens_revision, created_at,
    last_used_at
from clients
where tenant_id = %s
order by created_at, id

-- one --
select
    id, name, enabled, scopes, networks::text[] as networks, rate_limit, lens_revision, created_at,
    last_used_at
from clients
where tenant_id = %s
    and id = %s

-- hold --
select
    id, name, enabled, scopes, networks::text[] as networks, rate_limit
from clients
where tenant_id = %s
    and id = %s
for no key update

-- create --
insert into clients (tenant_id, id, name, enabled, scopes, networks, rate_limit)
values (
    %(tenant_id)s, %(id)s, %(name)s, %(enabled)s, %(scopes)s, %(networks)s::text[]::cidr[],
    %(rate_limit)s
)

-- change --
-- What was given to a client before it was disabled stays void when it is enabled again.
update clients
set
    name = %(name)s,
    epoch = epoch + case when enabled and not %(enabled)s then 1 else 0 end,
    enabled = %(enabled)s,
    scopes = %(scopes)s,
    networks = %(networks)s::text[]::cidr[],
    rate_limit = %(rate_limit)s
where tenant_id = %(tenant_id)s
    and id = %(id)s

-- delete --
delete from clients
where tenant_id = %s
    and id = %s

-- secrets --
select id, created_at, expires_at, revoked_at, last_used_at
from client_secrets
where tenant_id = %s
    and client_id = %s
order by created_at, id

-- live_secrets --
select count(*) as live
from client_secrets
where tenant_id = %s
    and client_id = %s
    and revoked_at is null
    and expires_at > now()

-- create_secret --
insert into client_secrets (tenant_id, client_id, id, hash, expires_at)
values (%(tenant_id)s, %(client_id)s, %(id)s, %(hash)s, now() + %(lifetime)s)
returning id, created_at, expires_at

-- revoke_secret --
update client_secrets
set revoked_at = coalesce(revoked_at, now())
where tenant_id = %s
    and client_id = %s
    and id = %s

-- keys --
select id, label, scopes, created_at, expires_at, revoked_at, last_used_at
from keys
where tenant_id = %s
    and client_id = %s
order by created_at, id

-- live_keys --
select count(*) as live
from keys
where tenant_id = %s
    and client_id = %s
    and revoked_at is null
    and expires_at > now()

-- create_key --
insert into keys (tenant_id, client_id, id, hash, label, scopes, expires_at)
values (
    %(tenant_id)s, %(client_id)s, %(id)s, %(hash)s, %(label)s, %(scopes)s, now() + %(lifetime)s
)
returning id, label, scopes, created_at, expires_at

-- revoke_key --
update keys
set revoked_at = coalesce(revoked_at, now())
where tenant_id = %s
    and client_id = %s
    and id = %s
