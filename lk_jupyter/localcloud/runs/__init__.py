"""Runs of each kind: life, output, use of resources, and inputs."""
