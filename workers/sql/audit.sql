-- Statements of what keeps the audit: heads out, old entries away.

-- grown --
-- Chains with entries that no exported head covers (control role).
select tenant_id, chain, seq, hash, at from audit_chains where seq > exported
order by tenant_id, chain;

-- exported --
update audit_chains set exported = greatest(exported, %(seq)s)
where tenant_id = %(tenant_id)s and chain = %(chain)s;

-- policies --
-- Every tenant with entries, and what it has decided; nothing, if it is no district or gone
-- (control role).
select tenant_id, d.tenant_id is not null and d.deleted_at is null, coalesce(d.policy, '{}')
from (select distinct tenant_id from audit_chains) as c left join districts as d using (tenant_id)
order by tenant_id;

-- old_chains --
-- Chains that began so long ago that their first entries may have served their time (control role).
select chain from audit_chains
where tenant_id = %(tenant_id)s and began_at < now() - make_interval(days => %(days)s)
order by chain;

-- last_old --
-- The last entry before the first one that is to stay.
select seq, hash from audit
where tenant_id = %(tenant_id)s and chain = %(chain)s and seq < coalesce(
    (
        select young.seq from audit as young
        where young.tenant_id = %(tenant_id)s and young.chain = %(chain)s
          and young.at >= now() - make_interval(days => %(days)s)
        order by young.seq
        limit 1
    ),
    9223372036854775807
)
order by seq desc
limit 1;

-- forget --
-- Some of what may go (control role); the function looks at the age once more.
select forget_audit(%(tenant_id)s, %(chain)s, %(seq)s, %(batch)s);
