"""How RosterHub is run: the command line, the local servers, the files for production."""
