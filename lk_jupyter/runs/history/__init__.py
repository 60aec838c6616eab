"""Runs that ended: list, compare, repeat, export."""
