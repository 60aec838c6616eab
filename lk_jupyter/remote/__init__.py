"""Modules that are uploaded with runs, as the folder ``_lk``. They import nothing else of the package.

Python 3.8 reads them.
"""

#: Whether this is a run or a session on a machine of the cloud, and not the notebook.
IN_RUN = __name__ == "_lk"
