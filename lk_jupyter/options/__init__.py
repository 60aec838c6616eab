"""What a magic and its Python counterpart may ask for."""

from lk_jupyter._lazy import lazily

__getattr__, __dir__ = lazily(__name__, {"RunOptions": "lk_jupyter.options.runs"})
