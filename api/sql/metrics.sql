-- states --
select kind, state, count(*) as number
from (
    select kind, state
    from runs
    union all
    select 'export', state
    from exports
) as every
group by kind, state

-- waiting --
-- No run that waits is an age of zero, so that the series does not break off.
select
    kinds.kind,
    coalesce(
        max(extract(epoch from clock_timestamp() - runs.next_run_at))
            filter (where runs.next_run_at <= clock_timestamp()),
        0
    ) as number
from (values ('import'), ('export')) as kinds (kind)
left join (
    select kind, state, next_run_at
    from runs
    union all
    select 'export', state, next_run_at
    from exports
) as runs on runs.kind = kinds.kind
    and runs.state = 'queued'
group by kinds.kind

-- deliveries --
select states.state, count(d.state) as number
from (values ('waiting'), ('sending')) as states (state)
left join webhook_deliveries as d on d.state = states.state
    and d.state in ('waiting', 'sending')
group by states.state

-- undelivered --
select coalesce(max(extract(epoch from clock_timestamp() - next_at)), 0) as number
from webhook_deliveries
where state in ('waiting', 'sending')
    and next_at <= clock_timestamp()
