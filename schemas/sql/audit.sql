-- Statements of whoever writes the audit: gateways as the control role, workers as the app role.

-- append --
-- Entries of one writer, with how far its chains are now. A batch that comes again, because the answer
-- to it was lost, changes nothing.
with entries as (
    insert into audit (
        tenant_id, chain, seq, at, party, who, credential, operation, method, route, target, filter,
        fields, page, records, address, status_code, code, request_id, times, lost, previous, hash
    )
    select
        tenant_id, chain, seq, at, party, who, credential, operation, method, route, target, filter,
        fields, page, records, address, status_code, code, request_id, times, lost,
        decode(previous, 'hex'), decode(hash, 'hex')
    from json_to_recordset(%(entries)s::json) as e(
        tenant_id integer, chain uuid, seq bigint, at timestamptz, party text, who text,
        credential text, operation text, method text, route text, target text, filter text, fields text, page text,
        records bigint, address text, status_code integer, code text, request_id text, times bigint,
        lost bigint, previous text, hash text
    )
    on conflict do nothing
)
insert into audit_chains as c (tenant_id, chain, process, seq, hash, at)
select tenant_id, chain, process, seq, decode(hash, 'hex'), at
from json_to_recordset(%(heads)s::json) as h(
    tenant_id integer, chain uuid, process text, seq bigint, hash text, at timestamptz
)
on conflict (tenant_id, chain) do update
set seq = excluded.seq, hash = excluded.hash, at = excluded.at
where c.seq < excluded.seq;

-- begin_chain --
-- The chain of the hub itself in a district, before its first entry.
insert into audit_chains (tenant_id, chain, process, seq, hash, at)
values (%(tenant_id)s, %(chain)s, 'hub', 0, %(hash)s, clock_timestamp())
on conflict do nothing;

-- hold_chain --
-- Whoever adds to it next waits until this transaction has ended.
select seq, hash, clock_timestamp() from audit_chains
where tenant_id = %(tenant_id)s and chain = %(chain)s
for update;

-- maker_of_run --
-- Whoever asked for a run.
select created_by from runs where tenant_id = %(tenant_id)s and id = %(id)s;
