"""Calls of functions as runs."""
