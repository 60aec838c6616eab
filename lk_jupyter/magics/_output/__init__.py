"""The outputs of a running cell."""
