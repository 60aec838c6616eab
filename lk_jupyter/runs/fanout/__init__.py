"""Several runs of one piece of code."""
