"""Export a run as a shell script that repeats the run without this package."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from string import Template
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.frames import nonce_in
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import SETTINGS

#: Settings of parts that refer to objects in the bucket.
_FROM_BUCKET = ("blobs", "resume")

TEMPLATE = Path(__file__).with_name("export.sh")


def render_script(request: dict[str, Any], base_url: str, *, org: str | None = None, title: str = "") -> str:
    """Return the script that sends this request, streams its output and reports how the run ended.

    The script reads the key from LK_API_KEY and contains no key. Raises UsageError for a run that reads from the
    bucket: its links are created when a run is sent, and soon expire.
    """
    _check_needs_no_bucket(request)
    metadata = {key: value for key, value in (request.get("metadata") or {}).items() if key != REQUEST_KEY}
    body = json.dumps({**request, "metadata": metadata}, indent=1)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=re.sub(r"\s+", " ", title),
        base_url=shlex.quote(base_url),
        org=shlex.quote(org or ""),
        nonce=shlex.quote(nonce_in(metadata) or ""),
        start=_start_path(request),
        body=body,  # no line of JSON equals the end mark: the lines start with a brace, a space or a bracket
    )


def _start_path(request: dict[str, Any]) -> str:
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
