"""The driver that runs the author's file, and the parts that support the code."""
