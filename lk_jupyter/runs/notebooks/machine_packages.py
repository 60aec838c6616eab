"""The packages of a session's machine: requirements of its cells, and modules that its image lacks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from lk_jupyter.code.imports import imported_names
from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.syntax import parse
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.package.bundle import Bundle


def requirements_text(bundle: Bundle) -> str:
    """Return the requirements of a cell, one on each line; empty without requirements."""
    return str(getattr(bundle.request, "requirements_content", None) or "")


def foreign_modules(bundle: Bundle) -> set[str]:
    """Return the top-level modules that a cell imports, without the standard library and uploaded files."""
    names = imported_names(parse(replace_ipython_syntax(bundle.source.code))) | bundle.payload.modules
    uploaded = {name.split("/")[0].removesuffix(".py") for name in bundle.uploads}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - uploaded - {"", "__main__"}


def missing_notice(answer: Mapping[str, Any], image: str) -> list[Notice]:
    """Return the notice about modules that the machine lacks, if any; ``answer`` comes from ``script.session``."""
    missing = ", ".join(map(str, answer["missing"]))
    python = f"image {image} with Python {answer['python']}"
    return (
        [Notice(f"The session doesn't have the packages {missing} ({python}). To install them, add -r auto", WARNING)]
        if missing
        else []
    )


def changed_notice(answer: Mapping[str, Any], name: str) -> list[Notice]:
    """Return the notice about imported packages of another version than the installed one, if any."""
    changed = ", ".join(f"{package} {old} (now {new})" for package, (old, new) in answer.get("changed", {}).items())
    advice = f"To import the new version, stop the session: %lk_sessions stop {name}"
    return (
        [Notice(f"The session still uses the package versions that it imported earlier: {changed}. {advice}", WARNING)]
        if changed
        else []
    )
