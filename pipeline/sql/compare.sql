-- Comparing with what is stored.

-- count --
-- The active records of an entity.
select coalesce(sum(records), 0) from record_counts
where tenant_id = %(tenant_id)s and entity = %(entity)s and status = 'active';
