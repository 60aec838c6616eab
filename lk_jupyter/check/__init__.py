"""Find differences between a server and the assumptions of lk_jupyter: ``%lk_check``, ``python -m lk_jupyter.check``.

The levels are the published description (no key), the answers (reads only) and a run (costs some credits). The results
are stored for the server, and all code with assumptions about servers reads the stored results.
"""
