"""What values of this package look like: functions that make HTML and text of a value, and nothing else."""
