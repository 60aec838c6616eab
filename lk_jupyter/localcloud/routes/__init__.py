"""Handlers, a file for each group of the API: a declaration plus its implementation."""
