"""Export a run as a script that repeats the run without this package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.frames import read_nonce
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import SETTINGS

#: Settings of parts that refer to objects in the bucket.
_FROM_BUCKET = ("blobs", "resume", "stage")

#: The exported program, with marks around the request.
_PROGRAM = Path(__file__).with_name("repeat_run.py")
_REQUEST = re.compile(r"# --- the request ---\n.{0,2000}?# --- end of the request ---\n", re.DOTALL)

_NEEDS = "# Needs Python 3.8 or later, and the key in LK_API_KEY. Prints the output on stdout, messages on stderr."

#: The shell runs Python with the file; to Python, the line is a text.
_SHELL = '"exec" "python3" "$0" "$@"'


def render_script(request: dict[str, Any], base_url: str, *, org: str | None = None, title: str = "") -> str:
    """Return the script that sends this request, streams its output and reports how the run ended.

    The script reads the key from LK_API_KEY and contains no key. Raises UsageError for a run that reads from the
    bucket: its links are created when a run is sent, and soon expire.
    """
    _check_needs_no_bucket(request)
    metadata = {key: value for key, value in (request.get("metadata") or {}).items() if key != REQUEST_KEY}
    names = {
        "BASE_URL": base_url,
        "ORG": org or "",
        "NONCE": read_nonce(metadata) or "",
        "START": _choose_start_path(request),
    }
    body = json.dumps({**request, "metadata": metadata}, indent=1).replace("'", "\\u0027")
    values = [*(f"{name} = {value!r}" for name, value in names.items()), f"REQUEST = json.loads(r'''{body}''')"]
    _, _, program = _PROGRAM.read_text(encoding="utf-8").partition('"""\n\n')  # without its docstring
    program = _REQUEST.sub(lambda _: "\n".join([*values, ""]), program)
    title = re.sub(r"\s+", " ", title)
    return f"#!/bin/sh\n# {title}\n{_NEEDS}\n{_SHELL}\n\n{program}"


def _choose_start_path(request: dict[str, Any]) -> str:
    """Return the path that starts such a run."""
    kinds = {"docker_image_ref": "image", "compose_file_code": "compose"}
    return f"/execution/{next((kind for name, kind in kinds.items() if name in request), 'streaming')}/start"


def _check_needs_no_bucket(request: dict[str, Any]) -> None:
    files = json.loads(request.get("import_files") or "{}")
    parts = json.loads(files.get(SETTINGS) or "{}").get("parts", {})
    for settings in parts.values():
        if any(settings.get(name) for name in _FROM_BUCKET):
            raise UsageError(
                "This run reads from your bucket through links that expire, so a script can't repeat it. Rerun "
                "it with new links: %lk_rerun"
            )
