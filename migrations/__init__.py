"""The database as it came to be: numbered SQL, applied in order by `rosterhub migrate`."""
