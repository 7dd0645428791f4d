-- as_login --
-- The books of the migrations belong to the login that migrated.
set local role none

-- applied --
select migration_id
from public._yoyo_migration
