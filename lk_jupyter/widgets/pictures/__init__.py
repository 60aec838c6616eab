"""Draw values of this package: functions that only make HTML and text of a value."""
