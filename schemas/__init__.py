"""Everything RosterHub declares: entities, profiles, rules, jobs, events, errors, settings."""
