"""Handlers, one file for each group of the API: a declaration plus what it does here."""
