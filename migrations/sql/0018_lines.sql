-- depends: 0017_webhooks

-- Known lines are a base and a patch of what changed since. What was kept in another shape is
-- forgotten: the next package is read whole, and known again.

set role rosterhub_owner;

truncate rosterhub.known_lines;
alter table rosterhub.known_lines rename column prefix to base;
alter table rosterhub.known_lines add column patch text;

reset role;
