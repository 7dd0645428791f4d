"""Rules across records, declared once as SQL: for PostgreSQL in an import, for SQLite offline.

`checks` has the rules, `state` the relations they speak of, `asking` turns answers into findings,
`settling` is what an import does with them: reject, skip what is faulty, or let deletions cascade.
"""
