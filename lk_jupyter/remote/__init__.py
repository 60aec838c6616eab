"""Modules that are uploaded with runs, as the folder ``_lk``, and import nothing of the rest of the package.

Python 3.8 reads these modules. Annotations, docstrings and comments are not uploaded.
"""

#: Whether this is a run or a session on a machine of the cloud, and not the notebook.
IN_RUN = __name__ == "_lk"
