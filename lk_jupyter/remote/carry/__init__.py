"""The state that a cell reads and changes, as one stream of pickles: variables, and the objects that they refer to.

The peer is the notebook for a run, and the run for the notebook.
"""
