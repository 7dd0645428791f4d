"""The gateway: HTTP in, SQL or a job out. Never a data frame."""
