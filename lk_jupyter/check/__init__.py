"""``%lk_check`` and ``python -m lk_jupyter.check``: how a server differs from what lk_jupyter assumes of it.

Level by level: what it publishes (no key), what it answers (reads only), what a run sees (for some credits). What is
found is stored for the server, and every place that assumes something of a server reads it there.
"""
