"""The rosters as OneRoster 1.2 reads them: the 41 operations of the rostering service.

`operations` is the table that the routes are made from. `questions` reads a request (`filters`,
`sorting`, `selection`, `paging`, `asof`) and turns it into SQL (`conditions`, `expressions`);
`reading` answers it from one snapshot (`selects`, `totals`). `sight` is what the caller may see,
and every relation comes from there. `collation` and `folding` make texts compare alike on every
server.
"""
