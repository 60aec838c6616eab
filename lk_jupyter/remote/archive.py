"""Imports the modules of a run from one file, an archive of their source."""

from __future__ import annotations

import marshal
import os
import zlib
from binascii import a2b_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The type of the specs of modules, which isn't imported by its name here.
_SPEC: Any = type(__spec__)

#: The file of the archive: module → source.
SOURCE = "source.txt"


def unpack(text: str) -> dict[str, str]:
    """Return path → source of an archive."""
    content: dict[str, str] = marshal.loads(zlib.decompress(a2b_base64(text)))
    return content


class Archive:
    """Finds and loads modules of the archive in a folder; paths of modules are relative to the folder above.

    A folder without an archive contains the modules as files, which Python imports.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._sources: dict[str, str] = {}
        try:
            with open(os.path.join(folder, SOURCE), encoding="ascii") as file:
                self._sources = unpack(file.read())
        except OSError:
            pass

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Return the spec of a module in the archive; None for any other module."""
        path = self._find_path(name)
        if not path:
            return None
        origin = os.path.join(os.path.dirname(self._folder), *path.split("/"))
        return _SPEC(name, self, origin=origin, is_package=path.endswith("/__init__.py"))

    def create_module(self, _spec: Any) -> None:
        """Let Python create the module."""

    def exec_module(self, module: Any) -> None:
        """Run the code of a module."""
        module.__file__ = module.__spec__.origin
        path = self._find_path(module.__name__)
        exec(compile(self._sources[path], path, "exec", dont_inherit=True), vars(module))

    def get_source(self, name: str) -> str:
        """Return the source of a module, for tracebacks."""
        return self._sources[self._find_path(name)]

    def _find_path(self, name: str) -> str:
        """Return the path of a module; empty for a module that isn't in the archive."""
        path = name.replace(".", "/")
        return next((file for file in (path + "/__init__.py", path + ".py") if file in self._sources), "")
