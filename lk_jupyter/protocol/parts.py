"""The parts that travel with the code of a run and support it there.

A part is a module of ``lk_jupyter/remote``. In the run, the driver ``_lk_run`` imports it and calls
``before(settings, namespace)``, ``rewritten(tree)`` with the syntax tree of the code, and
``after(settings, namespace, error)``, if it has them. A part sends messages to the notebook with
``_lk_run.frame``. Without a part the code is sent alone and unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

SHIPPED = Path(__file__).parent.parent / "remote"
DRIVER = "_lk_run"
SIGN = "_lk_sign"
SETTINGS = "_lk_settings.json"
CODE = "_lk_code.txt"

#: The file with the key that signs the messages of a run. It is added when the run is sent and stored nowhere.
KEY = "_lk_key.txt"

#: What the names of our files begin with; no file of the author's may.
PREFIX = "_lk_"

#: What the script becomes.
SCRIPT = f"import {DRIVER}\n{DRIVER}.main(globals())\n"


@dataclass(frozen=True)
class RemoteModule:
    """A module of ``remote``, its settings (JSON), and the modules that it needs next to it.

    ``files`` are other files that it needs, path to text.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """The author's file as the driver runs it.

    ``source`` is what the author wrote, where that is more than Python. ``first`` is a line to run
    before it; ``show_last`` is whether its last expression is shown, or ``all`` expressions; ``is_cell`` is whether
    each statement is compiled alone, ``flags`` are of what earlier cells have imported from the future.
    """

    name: str
    text: str
    source: str = ""
    first: str = ""
    show_last: bool | str = False
    is_cell: bool = False
    flags: int = 0


def shipped_files(cell: Cell, parts: Sequence[RemoteModule], nonce: str, look: Sequence[str] = ()) -> dict[str, str]:
    """Return the files that go along: the driver, its settings, the author's file and the parts.

    ``look`` are folders; the run says which of them shows the bucket. They travel without their first slash: the local
    cloud starts a store for a run whose text names the bucket's folder.
    """
    modules = [DRIVER, SIGN, *(name for part in parts for name in (part.name, *part.needs))]
    settings = {
        "nonce": nonce,
        "cell": cell.name,
        "source": cell.source if cell.source != cell.text else "",
        "first": cell.first,
        "show_last": cell.show_last,
        "is_cell": cell.is_cell,
        "flags": cell.flags,
        "parts": {part.name: part.settings for part in parts},
        **({"look": [folder.lstrip("/") for folder in look]} if look else {}),
    }
    return {
        **{path: text for part in parts for path, text in part.files.items()},
        **module_files(modules),
        SETTINGS: json.dumps(settings, ensure_ascii=False),
        CODE: cell.text,
    }


def module_files(names: Sequence[str]) -> dict[str, str]:
    """Return modules of ``remote`` as files."""
    return {f"{name}.py": _module(SHIPPED / f"{name}.py") for name in names}


@cache
def _module(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def cloudpickle_files() -> dict[str, str]:
    """Return the library that packs functions and classes, which has to be the same on both sides."""
    spec = find_spec("cloudpickle")
    folder = Path(str(spec and spec.origin)).parent
    return {f"{folder.name}/{path.name}": path.read_text(encoding="utf-8") for path in folder.glob("*.py")}


#: Characters of a token that are part of a name.
MARK = 12

#: What of a name is the token.
MARKED = re.compile(rf"-[0-9a-f]{{{MARK}}}(?=(?:\.\w+)?$)")


def own_name(name: str, token: str) -> str:
    """Return a file name that no other run has."""
    path = PurePath(name)
    return f"{path.stem}-{token[:MARK]}{path.suffix}"


def plain_name(name: str) -> str:
    """Return a file name as its author knows it."""
    return MARKED.sub("", name)
