"""The variables that sessions save in the bucket before their machines end: place and key, stored on this machine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lk_jupyter.config.files import platform_path, read_json, write_json
from lk_jupyter.errors import LkError
from lk_jupyter.protocol.bucket import checkpoint_key
from lk_jupyter.runs.run import Run
from lk_jupyter.text.units import moment_label

#: Identifies this process among the kernels of a notebook: a restarted kernel doesn't continue the variables.
OWNER = secrets.token_hex(8)


def saved_file() -> Path:
    """Return the file with the places of the variables that sessions of this machine saved."""
    return platform_path("data", "sessions.json")


def moment_words(moment: object) -> str:
    """Return the words for the moment, in seconds since 1970, of variables of a killed machine; empty for None."""
    if moment is None:
        return ""
    with suppress(TypeError, ValueError, OverflowError, OSError):  # a session can write any moment
        saved = datetime.fromtimestamp(float(str(moment)), timezone.utc).astimezone()
        return f", as they were at {moment_label(saved, '%H:%M:%S')}"
    return ", as they were before its machine ended"


def restored_words(answer: Mapping[str, Any]) -> str:
    """Return the words for the variables that a session has restored, and the reasons for missing variables."""
    names = ", ".join(answer["restored"]) or "no variables"
    reasons = "; ".join(f"{name} {reason}" for name, reason in dict(answer.get("left_out", {})).items())
    return f"Restored{moment_words(answer.get('moment'))}: {names}.{f' Not restored: {reasons}.' if reasons else ''}"


def place_to_save(run: Run, name: str, seconds: float) -> dict[str, str] | None:
    """Return the link for the variables of a session and the signing key; None without a bucket.

    The link is valid for ``seconds``, the rest of the machine's time, and an hour. The key is stored in a file that
    only this user can read.
    """
    secret, place = secrets.token_hex(32), checkpoint_key(secrets.token_hex(16))
    life = timedelta(seconds=seconds) + timedelta(hours=1)
    try:
        link = run.session.storage.presign(place, "PUT", life=life).url
        entry = {"run": run.execution_id, "base_url": run.session.base_url, "object": place, "key": secret}
        entry["owner"] = OWNER
        saved = read_json(saved_file())
        earlier = saved.get(name, {})
        if earlier.get("run") == run.execution_id and "requirements" in earlier:  # a new Python on the same machine
            entry["requirements"] = earlier["requirements"]
        write_json(saved_file(), {**saved, name: entry})
    except (LkError, OSError):
        return None
    return {"put": link, "key": secret}


def remember_requirements(name: str, texts: list[str]) -> None:
    """Store the requirements of a session, which its next machine installs before it restores the variables."""
    saved = read_json(saved_file())
    if name in saved:
        write_json(saved_file(), {**saved, name: {**saved[name], "requirements": texts}})


def forget_saved(name: str) -> None:
    """Forget the saved variables of a session."""
    saved = read_json(saved_file())
    if saved.pop(name, None):
        write_json(saved_file(), saved)
