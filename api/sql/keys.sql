-- all --
select id, label, client_id as client, scopes, created_at, expires_at, revoked_at, last_used_at
from keys
where tenant_id = %s
order by created_at, id

-- take_turns --
select pg_advisory_xact_lock(hashtext('rosterhub.keys'), %s)

-- live --
select count(*) as live
from keys
where tenant_id = %s
    and client_id is null
    and label = %s
    and revoked_at is null
    and expires_at > now()

-- create --
insert into keys (tenant_id, id, hash, label, scopes, expires_at)
values (%(tenant_id)s, %(id)s, %(hash)s, %(label)s, %(scopes)s, now() + %(lifetime)s)
returning id, label, scopes, created_at, expires_at

-- revoke --
update keys
set revoked_at = coalesce(revoked_at, now())
where tenant_id = %s
    and id = %s
