"""Modules that are uploaded with runs, as the package ``_lk``, and import nothing of the rest of the package.

Python 3.8 reads these modules. Annotations, docstrings and comments are not uploaded. A run imports the modules from
archives.
"""

#: Whether this is a run or a session on a machine of the cloud, and not the notebook.
IN_RUN = __name__ == "_lk"

if IN_RUN:
    import sys

    from .archive import Archive

    sys.meta_path.insert(0, Archive(__path__[0]))
