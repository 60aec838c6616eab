"""Notebooks as runs, and hosted Jupyter servers."""
