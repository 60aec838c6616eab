"""State that survives a restart: the runs that this machine started, and their notebooks."""
