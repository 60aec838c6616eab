"""The way of a run to the cloud."""
