-- What was found in a package, written at the end of its run and never changed.

-- forget --
-- In place of what an interrupted attempt may have left.
with
    counts as (
        delete from finding_counts where tenant_id = %(tenant_id)s and run_id = %(id)s
    ),
    groups as (
        delete from finding_groups where tenant_id = %(tenant_id)s and run_id = %(id)s
    ),
    files as (
        delete from finding_files where tenant_id = %(tenant_id)s and run_id = %(id)s
    )
delete from findings where tenant_id = %(tenant_id)s and run_id = %(id)s

-- shown --
-- Whether the district keeps values and rows as they came, or only their shape.
select coalesce(policy ->> 'finding_values', 'full') from districts where tenant_id = %(tenant_id)s

-- add --
-- COPY does not work under row-level security; arrays are one statement for many rows.
insert into findings (
    tenant_id, run_id, seq, file, line, "column", sourced_id, rule, severity, value, facts,
    caused_by, school, "row", group_rank
)
select %(tenant_id)s, %(id)s, seq, file, line, "column", sourced_id, rule, severity, value,
    facts::jsonb, caused_by, school, "row", group_rank
from unnest(
    %(seq)s::integer[], %(file)s::text[], %(line)s::bigint[], %(column)s::text[],
    %(sourced_id)s::text[], %(rule)s::text[], %(severity)s::text[], %(value)s::text[],
    %(facts)s::text[], %(caused_by)s::integer[], %(school)s::text[], %(row)s::text[],
    %(group_rank)s::integer[]
) as found (
    seq, file, line, "column", sourced_id, rule, severity, value, facts, caused_by, school, "row",
    group_rank
)

-- count --
-- Those that are kept, and those beyond that are like the kept one with their number.
insert into finding_counts
    (tenant_id, run_id, rule, severity, file, school, findings, followers, first)
select %(tenant_id)s, %(id)s, rule, severity, file, school,
    sum(findings), sum(followers),
    coalesce(min(seq) filter (where findings > 0), min(seq))
from (
    select rule, severity, file, coalesce(school, '') as school, seq,
        (caused_by is null)::integer as findings, (caused_by is not null)::integer as followers
    from findings
    where tenant_id = %(tenant_id)s and run_id = %(id)s
    union all
    select found.rule, found.severity, found.file, coalesce(beyond.school, ''), found.seq,
        beyond.findings, 0
    from unnest(%(seq)s::integer[], %(school)s::text[], %(findings)s::integer[])
        as beyond (seq, school, findings)
    join findings as found on found.tenant_id = %(tenant_id)s and found.run_id = %(id)s
        and found.seq = beyond.seq
) as counted
group by rule, severity, file, school

-- group --
insert into finding_groups (tenant_id, run_id, rank, seq, cause, findings, followers)
select %(tenant_id)s, %(id)s, *
from unnest(
    %(rank)s::integer[], %(seq)s::integer[], %(cause)s::text[], %(findings)s::integer[],
    %(followers)s::integer[]
)

-- name_columns --
insert into finding_files (tenant_id, run_id, file, header)
values (%(tenant_id)s, %(id)s, %(file)s, %(header)s)
