"""``lk://``: the bucket of the shared session, as an entry point of fsspec."""

from __future__ import annotations

from lk_jupyter.session import current
from lk_jupyter.storage.fsspec import StorageFileSystem
from lk_jupyter.storage.storage import Storage


class LkFileSystem(StorageFileSystem):
    """Of whoever is signed in now, in this process."""

    cachable = True

    @property
    def storage(self) -> Storage:
        """The bucket."""
        return current().storage
