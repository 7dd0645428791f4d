-- The events of a district, as they are read again.

-- head --
-- The newest event, the oldest that is kept, and the version that stands.
select
    coalesce((select newest from event_counters where tenant_id = %(tenant_id)s), 0) as newest,
    (select min(sequence) from webhook_events where tenant_id = %(tenant_id)s) as oldest,
    version,
    published_at
from districts
where tenant_id = %(tenant_id)s

-- behind --
-- What follows a number, of the types that the reader may see.
select id, sequence, type, body
from webhook_events
where tenant_id = %(tenant_id)s
    and sequence > %(after)s
    and type = any(%(types)s)
order by sequence
limit %(limit)s
