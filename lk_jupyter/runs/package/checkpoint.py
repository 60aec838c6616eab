"""Save a checkpoint before the time limit, and resume from it in a later run.

``lk_checkpoint(folder)``: define this function in the code of a run. It is called once, in the main thread, after four
fifths of the time limit. ``folder`` is a ``pathlib.Path``, whose files are uploaded to the bucket while the code keeps
running. Raise ``SystemExit`` in the function to end the run.

``lk_resume``: in a run with ``--resume ID``, the ``pathlib.Path`` of the folder that the run ``ID`` saved; ``None``
in a run without ``--resume``.

Cost: none besides the run; the checkpoint is a file of the bucket.

Example:
    >>> code = '''
    ... start = int((lk_resume / "step").read_text()) if lk_resume else 0
    ... def lk_checkpoint(folder):
    ...     (folder / "step").write_text("5")
    ...     raise SystemExit
    ... print("start", start)
    ... if not lk_resume:
    ...     import time; time.sleep(30)
    ... '''
    >>> first = session.run(code, timeout=10)
    >>> _ = first.wait()
    >>> session.run(code, timeout=30, resume=first.execution_id).result().stdout.strip()
    'start 5'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.source import Source
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import RunOptions, format_line
from lk_jupyter.protocol.bucket import checkpoint_key
from lk_jupyter.protocol.frames import UNSIGNED, Frame, read_nonce
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.protocol.parts import RemoteModule
from lk_jupyter.protocol.vm_run import parse_run_key
from lk_jupyter.remote.sign import saving_seconds
from lk_jupyter.runs.ids import resolve
from lk_jupyter.runs.log import frames_in_log, frames_on_cloud
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.variables.download import DELETED
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.units import count_label, duration_label, size_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: The kind of the frames about a checkpoint.
CHECKPOINT = "checkpoint"

#: The share of the time limit after which a run is warned, and saves its checkpoint.
LATE = 0.8

#: The time for a checkpoint and then for the variables, as a multiple of the time for the variables.
_SAVING_SHARE = 1.5

PART, LINKS = "script.checkpoint", "_lk_checkpoint.json"
#: The module that gives the code the names of our checkpoints, and code that uses these names.
NAMES_PART = RemoteModule("script.checkpoints", {}, ("checkpoints",))
_USES = re.compile(r"\b(?:checkpoint_folder|Checkpoint)\b")

_NAMES = re.compile(r"\blk_(?:checkpoint|resume)\b")
_WITHOUT_PARAMETER = re.compile(r"^[^\S\n]*def lk_checkpoint\(\s*\)", re.MULTILINE)


def uses_checkpoints(code: str) -> bool:
    """Return whether code uses ``checkpoint_folder`` or ``Checkpoint`` of this package."""
    return "lk_jupyter" in code and _USES.search(code) is not None


def checkpoint_parts(
    session: Connection, source: Source, options: RunOptions, limit: int, *, on_vm: bool = False
) -> list[RemoteModule]:
    """Return the modules for code that saves a checkpoint, or resumes from the checkpoint of another run.

    ``limit`` is the time limit in seconds. Raises UsageError if the other run has no checkpoint, and StorageError if
    the bucket can't be used.
    """
    if _WITHOUT_PARAMETER.search(source.code):
        raise UsageError("lk_checkpoint needs a parameter for the folder: def lk_checkpoint(folder). Nothing was sent.")
    names_part = [NAMES_PART] if uses_checkpoints(source.code) else []
    named = {match[0] for match in _NAMES.finditer(source.code)}
    resumes_vm_run = options.resume is not None and parse_run_key(resolve(session, options.resume)) is not None
    if resumes_vm_run and not on_vm:
        raise UsageError(
            f"--resume: run {options.resume} was on a VM, so its checkpoint needs a VM. Nothing was sent. Add --on vm."
        )
    if not named and (resumes_vm_run or not options.resume):
        return names_part
    settings: dict[str, Any] = {}
    if options.resume and not resumes_vm_run:
        settings |= _find_checkpoint(session, options.resume)
    if "lk_checkpoint" in named:
        # Variables are sent back before a short limit, which interrupts the code: the checkpoint is saved before that.
        after = min(LATE * limit, limit - _SAVING_SHARE * saving_seconds(limit))
        settings |= {"after": after, "folders": session.assumptions.candidates("bucket_folder_python")}
    return [*names_part, RemoteModule(PART, settings, ("script.links", "values"))]


def _find_checkpoint(session: Connection, wish: str) -> dict[str, str]:
    """Return the key of a run's checkpoint, and its SHA-256 from the log. Raises UsageError."""
    run_id = resolve(session, wish)
    short, entry = run_id[:SHORT_ID], journal().get(run_id)
    record = None if entry else session.client.execution.get(run_id)
    metadata = entry.request.get("metadata") if entry else (record.metadata if record else None)
    token = entry.token if entry else (metadata or {}).get(REQUEST_KEY)
    nonce, key = read_nonce(metadata), signing_key(entry.token) if entry else None
    frames = frames_in_log(run_id, nonce, CHECKPOINT, key)
    checkpoint = checkpoint_key(str(token))
    if not token or not session.storage.exists(checkpoint):
        if any("sha256" in frame.payload for frame in frames):
            raise UsageError(f"--resume: the checkpoint of run {short} {DELETED}: {checkpoint}. Nothing was sent.")
        raise UsageError(
            f"--resume: run {short} has no checkpoint. Nothing was sent. Its code must define lk_checkpoint(folder)."
        )
    frames = frames or frames_on_cloud(
        session.client, record or session.client.execution.get(run_id), nonce, CHECKPOINT, key
    )
    if any(frame.kind == UNSIGNED for frame in frames):
        raise UsageError(
            f"--resume: the checkpoint of run {short} isn't signed with the key of the run. Nothing was sent."
        )
    digests = [frame.payload["sha256"] for frame in frames if "sha256" in frame.payload]
    if not digests:
        raise UsageError(f"--resume: the log of run {short} doesn't show a saved checkpoint yet. Nothing was sent.")
    return {"resume": checkpoint, "sha256": str(digests[-1])}


def is_saved(frame: Frame) -> bool:
    """Return whether a frame reports a checkpoint from which another run can resume."""
    return frame.kind == CHECKPOINT and "problem" not in frame.payload


def checkpoint_notice(payload: dict[str, Any]) -> Notice:
    """Return the notice about a checkpoint, from the payload of the run's frame."""
    if "problem" in payload:
        return Notice(redact(f"Nothing was saved: {payload['problem']}."), WARNING)
    count, size = payload.get("count", 0), payload.get("bytes", 0)
    files = count_label(count, "file")
    return Notice(f"Saved {files}, {size_label(size)}, after {duration_label(float(payload.get('seconds', 0)))}.")


def resume_line(bundle: Bundle | None, run_id: str) -> str:
    """Return the line that resumes from the checkpoint of a run."""
    if bundle is None:
        return f"--resume {run_id}"
    options = bundle.options.model_copy(update={"resume": run_id})
    if bundle.source.is_cell:
        return redact(f"%%lk_run {format_line(options)}")
    return f'session.run(…, resume="{run_id}")'
