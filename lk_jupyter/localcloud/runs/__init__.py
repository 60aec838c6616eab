"""Runs: how each kind lives, what it prints, what it uses, what it is given."""
