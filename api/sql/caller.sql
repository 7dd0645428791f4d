-- district_keys --
-- The id alone finds a key, for nothing else is known of its district yet.
select
    keys.id,
    keys.tenant_id,
    keys.hash,
    keys.scopes,
    coalesce(keys.last_used_at < now() - interval '1 minute', true) as untouched,
    districts.id as district,
    districts.version,
    clients.id as client,
    clients.scopes as client_scopes,
    clients.networks::text[] as networks,
    clients.rate_limit,
    clients.lens,
    clients.lens_revision
from keys
join districts using (tenant_id)
left join clients on clients.tenant_id = keys.tenant_id
    and clients.id = keys.client_id
where keys.id = any(%s)
    and keys.expires_at > now()
    and keys.revoked_at is null
    and districts.deleted_at is null
    and (keys.client_id is null or clients.enabled)

-- admin_keys --
select
    id,
    hash,
    coalesce(last_used_at < now() - interval '1 minute', true) as untouched
from admin_keys
where id = any(%s)
    and expires_at > now()
    and revoked_at is null

-- token_holders --
-- A token lives as long as its client is enabled, and the secret it was asked for with is good.
select
    client_secrets.id as secret,
    clients.tenant_id,
    clients.epoch,
    coalesce(clients.last_used_at < now() - interval '1 minute', true) as untouched,
    districts.id as district,
    districts.version,
    clients.id as client,
    clients.scopes as client_scopes,
    clients.networks::text[] as networks,
    clients.rate_limit,
    clients.lens,
    clients.lens_revision
from unnest(%s::integer[], %s::text[], %s::text[], %s::bigint[])
    as said (tenant_id, client_id, secret_id, epoch)
join clients on clients.tenant_id = said.tenant_id
    and clients.id = said.client_id
    and clients.epoch = said.epoch
join client_secrets on client_secrets.tenant_id = said.tenant_id
    and client_secrets.client_id = said.client_id
    and client_secrets.id = said.secret_id
join districts on districts.tenant_id = said.tenant_id
where clients.enabled
    and client_secrets.expires_at > now()
    and client_secrets.revoked_at is null
    and districts.deleted_at is null

-- secrets --
-- What a client may ask tokens with.
select
    client_secrets.id as secret,
    client_secrets.hash,
    clients.tenant_id,
    clients.id as client,
    clients.epoch,
    clients.scopes,
    clients.networks::text[] as networks,
    clients.rate_limit
from clients
join client_secrets on client_secrets.tenant_id = clients.tenant_id
    and client_secrets.client_id = clients.id
join districts on districts.tenant_id = clients.tenant_id
where clients.id = %s
    and client_secrets.id = %s
    and clients.enabled
    and client_secrets.expires_at > now()
    and client_secrets.revoked_at is null
    and districts.deleted_at is null

-- district_of --
-- Whose client somebody says he is.
select clients.tenant_id, clients.id
from clients
join districts on districts.tenant_id = clients.tenant_id
where clients.id = %s
    and districts.deleted_at is null

-- touch_key --
-- Requests of the same minute find it touched and write nothing.
with touched as (
    update keys
    set last_used_at = now()
    where tenant_id = %(tenant_id)s
        and id = %(id)s
        and coalesce(last_used_at < now() - interval '1 minute', true)
    returning tenant_id, client_id
)
update clients
set last_used_at = now()
from touched
where clients.tenant_id = touched.tenant_id
    and clients.id = touched.client_id

-- touch_admin_key --
update admin_keys
set last_used_at = now()
where id = %(id)s
    and coalesce(last_used_at < now() - interval '1 minute', true)

-- touch_client --
update clients
set last_used_at = now()
where tenant_id = %(tenant_id)s
    and id = %(client)s
    and coalesce(last_used_at < now() - interval '1 minute', true)

-- touch_secret --
update client_secrets
set last_used_at = now()
where tenant_id = %(tenant_id)s
    and client_id = %(client)s
    and id = %(secret)s
    and coalesce(last_used_at < now() - interval '1 minute', true)

-- districts --
select id, tenant_id, version
from districts
where id = any(%s)
    and deleted_at is null
