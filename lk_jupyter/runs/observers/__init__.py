"""What looks after a run while it is followed."""
