"""The rosters as OneRoster 1.2 reads them."""
