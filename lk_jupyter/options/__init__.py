"""Options of the magics and of their Python counterparts."""

from lk_jupyter._lazy import lazily

__getattr__, __dir__ = lazily(__name__, {"RunOptions": "lk_jupyter.options.runs"})
