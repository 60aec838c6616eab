"""Runs of container images."""
