"""Observe runs that are followed."""
