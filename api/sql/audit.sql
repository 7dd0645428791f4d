-- edge --
-- How far one look reaches: behind so many entries that are in the time and place asked for. A filter
-- that matches little would otherwise read years in one request.
select at, chain, seq from audit
where tenant_id = %(tenant_id)s
    and at >= coalesce(%(from)s::timestamptz, '-infinity')
    and at < coalesce(%(to)s::timestamptz, 'infinity')
    and (at, chain, seq) < (
        coalesce(%(at)s::timestamptz, 'infinity'),
        coalesce(%(chain)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
        coalesce(%(seq)s::bigint, 0)
    )
order by at desc, chain desc, seq desc
offset %(window)s - 1
limit 1;

-- page --
-- The newest entries that match, between a place and the edge of the look.
select
    at, party, who, credential, operation, method, route, target, filter, fields, page, records,
    address, status_code, code, request_id, times, lost, chain, seq, hash
from audit
where tenant_id = %(tenant_id)s
    and at >= coalesce(%(from)s::timestamptz, '-infinity')
    and at < coalesce(%(to)s::timestamptz, 'infinity')
    and (at, chain, seq) < (
        coalesce(%(at)s::timestamptz, 'infinity'),
        coalesce(%(chain)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
        coalesce(%(seq)s::bigint, 0)
    )
    and (at, chain, seq) >= (
        coalesce(%(edge_at)s::timestamptz, '-infinity'),
        coalesce(%(edge_chain)s::uuid, '00000000-0000-0000-0000-000000000000'),
        coalesce(%(edge_seq)s::bigint, 0)
    )
    and (%(who)s::text is null or %(who)s in (who, credential))
    and (%(party)s::text is null or party = %(party)s)
    and (%(operation)s::text is null or operation = %(operation)s)
    and (%(method)s::text is null or method = %(method)s)
    and (%(route)s::text is null or route = %(route)s)
    and (%(target)s::text is null or %(target)s = any(string_to_array(target, '/')))
    and (%(address)s::text is null or address = %(address)s)
    and (%(request_id)s::text is null or request_id = %(request_id)s)
    and (%(records)s::bigint is null or records >= %(records)s)
    and (%(outcome)s::text is null or %(outcome)s = case
        when coalesce(status_code, 200) < 400 then 'answered'
        when status_code < 500 then 'refused'
        else 'failed'
    end)
order by at desc, chain desc, seq desc
limit %(limit)s;
