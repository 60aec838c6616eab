"""The former place of ``lk_jupyter.journal.journal``, for one release."""

from lk_jupyter._lazy import moved

__getattr__ = moved(__name__, "lk_jupyter.journal.journal")
