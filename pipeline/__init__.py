"""What happens to rows: open, read, check, stage, merge, publish. Knows no queue and no HTTP."""
