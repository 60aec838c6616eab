"""Settings, keys and the files of a user."""

from lk_jupyter._lazy import lazily

__getattr__, __dir__ = lazily(__name__, {"setting": "lk_jupyter.config.settings"})
