"""The delta feed: what happened to a district's roster, in the order in which it was committed.

`places` is where a consumer stands, sealed into its cursor. `log` is the SQL of what comes behind a
place, read from the rows and their history: nothing is written down twice. `objects` are the
records of events as their version left them, `reading` puts a page together, `waiting` holds those
for whom there is nothing new, `feed` and `checksums` are the resources.
"""
