-- district_keys --
-- The id alone finds the key, for nothing else is known of its district yet.
select
    keys.tenant_id,
    keys.hash,
    keys.scopes,
    districts.id as district,
    coalesce(keys.last_used_at < now() - interval '1 minute', true) as untouched
from keys
join districts using (tenant_id)
where keys.id = %s
    and keys.expires_at > now()
    and keys.revoked_at is null
    and districts.deleted_at is null

-- admin_keys --
select
    hash,
    coalesce(last_used_at < now() - interval '1 minute', true) as untouched
from admin_keys
where id = %s
    and expires_at > now()
    and revoked_at is null

-- touch_key --
-- Requests of the same minute find it touched and write nothing.
update keys
set last_used_at = now()
where tenant_id = %s
    and id = %s
    and coalesce(last_used_at < now() - interval '1 minute', true)

-- touch_admin_key --
update admin_keys
set last_used_at = now()
where id = %s
    and coalesce(last_used_at < now() - interval '1 minute', true)

-- district --
select tenant_id
from districts
where id = %s
    and deleted_at is null
