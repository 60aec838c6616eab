"""Outputs of the code: figures, tables, widgets, bars and errors, as a notebook shows such outputs."""
