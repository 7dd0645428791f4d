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
insert into finding_counts
    (tenant_id, run_id, rule, severity, file, school, findings, followers, first)
select tenant_id, run_id, rule, severity, file, coalesce(school, ''),
    count(*) filter (where caused_by is null), count(caused_by),
    coalesce(min(seq) filter (where caused_by is null), min(seq))
from findings
where tenant_id = %(tenant_id)s and run_id = %(id)s
group by tenant_id, run_id, rule, severity, file, coalesce(school, '')

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
