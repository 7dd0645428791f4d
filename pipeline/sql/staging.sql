-- The staging tables of first loads: rosterhub_staging.run_<run id>_<fence>_<number>.

-- tables --
select tablename from pg_tables
where schemaname = 'rosterhub_staging' and starts_with(tablename, %(beginning)s);

-- running --
-- The runs that may have staging tables (control role).
select id from runs where state = 'running';
