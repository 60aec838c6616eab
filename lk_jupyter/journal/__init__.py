"""What survives a restart: the runs that were started here, and where."""
