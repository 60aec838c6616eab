"""Imports the modules of a run from archives: code that the notebook's Python has compiled, or source.

Only the version of Python that compiled the code can read it; any other version compiles the source.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from binascii import a2b_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The type of the specs of modules, and the module that imports files: neither is imported by its name here.
_SPEC: Any = type(__spec__)
_IMPORTER = sys.modules.get(type(globals()["__loader__"]).__module__)

#: The files of the archives: module → source, and module → code, after the number of the format of the code.
SOURCE, CODE = "source.txt", "code.txt"


def unpack(text: str) -> dict[str, Any]:
    """Return path → content of an archive."""
    content: dict[str, Any] = marshal.loads(zlib.decompress(a2b_base64(text)))
    return content


class Archive:
    """Finds and loads modules of the archives in a folder; paths of modules are relative to the folder above."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        code = self._read(CODE)
        self._code = unpack(code[8:]) if code and code[:8] == _format_number() else {}
        self._paths = set(self._code or self._read_source())

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Return the spec of a module in the archives; None for any other module."""
        path = self._path(name)
        if not path:
            return None
        origin = os.path.join(os.path.dirname(self._folder), *path.split("/"))
        return _SPEC(name, self, origin=origin, is_package=path.endswith("/__init__.py"))

    def create_module(self, _spec: Any) -> None:
        """Let Python create the module."""

    def exec_module(self, module: Any) -> None:
        """Run the code of a module."""
        module.__file__ = module.__spec__.origin
        path = self._path(module.__name__)
        if self._code:
            code = marshal.loads(self._code[path])
        else:
            code = compile(self._read_source()[path], path, "exec", dont_inherit=True)
        exec(code, vars(module))

    def get_source(self, name: str) -> str:
        """Return the source of a module, for tracebacks. Raises OSError after the end of the run."""
        source: str = self._read_source()[self._path(name)]
        return source

    def _path(self, name: str) -> str:
        """Return the path of a module; empty for a module that isn't in the archives."""
        path = name.replace(".", "/")
        return next((file for file in (path + "/__init__.py", path + ".py") if file in self._paths), "")

    def _read_source(self) -> dict[str, Any]:
        text = self._read(SOURCE)
        return unpack(text) if text else {}

    def _read(self, name: str) -> str:
        """Return a file of the folder; empty if the file doesn't exist."""
        try:
            with open(os.path.join(self._folder, name), encoding="ascii") as file:
                return file.read()
        except OSError:
            return ""


def _format_number() -> str:
    """Return the number of the format of compiled code, as hexadecimal digits; empty for a Python without files."""
    number: bytes = getattr(_IMPORTER, "MAGIC_NUMBER", b"")
    return number.hex()
