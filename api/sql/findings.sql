-- run --
-- The run, and whether its district shows values and rows as they came.
select runs.id, coalesce(districts.policy ->> 'finding_values', 'full') as shown
from runs
join districts on districts.tenant_id = runs.tenant_id
where runs.tenant_id = %(tenant_id)s
    and runs.id = %(run_id)s

-- page --
select seq, file, line, "column", sourced_id, rule, severity, value, facts, caused_by, school, "row"
from findings
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
    and seq > %(after)s
    and (%(severity)s::text is null or severity = %(severity)s)
    and (%(file)s::text is null or file = %(file)s)
    and (%(rule)s::text is null or rule = %(rule)s)
    and (%(school)s::text is null or school = %(school)s)
    and (%(causes)s::text is null or (caused_by is null) = (%(causes)s = 'only'))
    and (%(caused_by)s::integer is null or caused_by = %(caused_by)s)
    and (%(group)s::integer is null or group_rank = %(group)s)
order by seq
limit %(limit)s

-- by_line --
-- What was found in the rows of one file, in the order of the file.
select seq, file, line, "column", sourced_id, rule, severity, value, facts, caused_by, school, "row"
from findings
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
    and file = %(file)s
    and line is not null
    and (line, seq) > (%(line)s, %(after)s)
    and (%(severity)s::text is null or severity = %(severity)s)
    and (%(rule)s::text is null or rule = %(rule)s)
    and (%(school)s::text is null or school = %(school)s)
    and (%(causes)s::text is null or (caused_by is null) = (%(causes)s = 'only'))
    and (%(caused_by)s::integer is null or caused_by = %(caused_by)s)
    and (%(group)s::integer is null or group_rank = %(group)s)
order by line, seq
limit %(limit)s

-- header --
select header
from finding_files
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
    and file = %(file)s

-- groups --
select
    groups.rank,
    groups.cause,
    groups.findings,
    groups.followers,
    found.seq,
    found.file,
    found.line,
    found."column",
    found.sourced_id,
    found.rule,
    found.severity,
    found.value,
    found.facts,
    found.caused_by,
    found.school,
    found."row"
from finding_groups as groups
join findings as found on found.tenant_id = groups.tenant_id
    and found.run_id = groups.run_id
    and found.seq = groups.seq
where groups.tenant_id = %(tenant_id)s
    and groups.run_id = %(run_id)s
    and groups.rank > %(after)s
    and (%(severity)s::text is null or found.severity = %(severity)s)
    and (%(file)s::text is null or found.file = %(file)s)
    and (%(rule)s::text is null or found.rule = %(rule)s)
    and (%(school)s::text is null or found.school = %(school)s)
order by groups.rank
limit %(limit)s

-- counts --
-- By severity, by rule and by file, in one pass over what was counted at the end of the run.
select
    severity,
    rule,
    file,
    sum(findings)::integer as findings,
    sum(followers)::integer as followers
from finding_counts
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
group by grouping sets ((severity), (severity, rule), (file))
order by findings desc, min(first)

-- followers --
-- What follows from findings, also where there is too much of it to be listed.
select coalesce(sum(followers), 0)::integer as followers
from finding_groups
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s

-- schools --
-- The schools with the most findings, by the names that they have in the roster.
select
    counted.school,
    orgs.name,
    counted.findings,
    counted.followers,
    counted.schools
from (
    select
        nullif(school, '') as school,
        sum(findings)::integer as findings,
        sum(followers)::integer as followers,
        count(*) over ()::integer as schools
    from finding_counts
    where tenant_id = %(tenant_id)s
        and run_id = %(run_id)s
    group by school
    order by sum(findings) desc, school
    limit %(limit)s
) as counted
left join orgs on orgs.tenant_id = %(tenant_id)s
    and orgs.sourced_id = counted.school
order by counted.findings desc, counted.school

-- examples --
-- The first findings of each rule, of different files and schools where there are some.
select seq, file, line, "column", sourced_id, rule, severity, value, facts, caused_by, school, "row"
from findings
where tenant_id = %(tenant_id)s
    and run_id = %(run_id)s
    and seq = any (array (
        select first
        from (
            select first, row_number() over (partition by rule, severity order by first) as number
            from (
                -- Schools of which no finding is kept share the first of the kind.
                select distinct rule, severity, first
                from finding_counts
                where tenant_id = %(tenant_id)s
                    and run_id = %(run_id)s
            ) as counted
        ) as chosen
        where number <= %(examples)s
    ))
order by seq
