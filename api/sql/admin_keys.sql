-- all --
select id, label, created_at, expires_at, revoked_at, last_used_at
from admin_keys
order by created_at, id

-- take_turns --
select pg_advisory_xact_lock(hashtext('rosterhub.admin_keys'))

-- living --
select id
from admin_keys
where revoked_at is null
    and expires_at > now()

-- revoke --
update admin_keys
set revoked_at = coalesce(revoked_at, now())
where id = %s
