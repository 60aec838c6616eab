"""Notebooks whose cells may send the variables that they read: an answer is kept on this machine, in no notebook.

The same file contains the measured upload speed of each bucket, which decides when a question is repeated.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lk_jupyter.config.files import platform_path, read_json, write_json
from lk_jupyter.errors import UsageError


@dataclass(frozen=True)
class Place:
    """Where variables come from and go to: path of the notebook (empty: this process), server, organization."""

    notebook: str
    server: str
    org: str = ""

    @property
    def key(self) -> str:
        """Return the key of the place in the file."""
        return json.dumps([self.notebook, self.server, self.org])


#: Answers that the user of this process gave: place → bytes.
_answers: dict[Place, int] = {}

#: Answers of this process: place → seconds for which the notebook keeps its machine between cells.
_keep_durations: dict[Place, int] = {}

#: Uploads with fewer bytes and less time, in seconds, are too short for a measurement.
_SHORT_BYTES, _SHORT_SECONDS = 8_000_000, 2.0


def consents_file() -> Path:
    """Return the path of the file that keeps the answers; the file need not exist."""
    return platform_path("data", "consents.json")


def allowed_bytes(place: Place) -> int:
    """Return the most bytes that the user agreed to send from a notebook; 0 without an answer.

    The stored answer counts for a file that this user has signed by trusting it. For any other file, which another
    person may have written, only an answer in this process counts.
    """
    return _read_answer(_answers, place, place.key)


def _read_answer(answers: dict[Place, int], place: Place, key: str) -> int:
    """Return the answer of this process, or the stored answer for a signed notebook; 0 without an answer."""
    if place not in answers and place.notebook:
        number = _read_answers().get(key, 0)
        if number and is_trusted(Path(place.notebook)):
            answers[place] = number
    return answers.get(place, 0)


def allow(place: Place, size: int) -> None:
    """Keep the answer that cells of a notebook may send variables; ``size`` are the bytes in question.

    An answer that can't be stored counts for this process.
    """
    _answers[place] = max(size, 1, _answers.get(place, 0))
    if place.notebook:
        with suppress(OSError):
            write_json(consents_file(), {**_read_answers(), place.key: _answers[place]})


def withdraw(place: Place) -> None:
    """Delete the answer for a notebook. Raises UsageError if the file can't be written."""
    _answers.pop(place, None)
    answers = _read_answers()
    if answers.pop(place.key, None) is None:
        return
    try:
        write_json(consents_file(), dict(answers))
    except OSError as error:
        raise UsageError(
            f"Can't write '{consents_file()}' ({error.strerror}). The stored answer wasn't deleted."
        ) from None


def keep_duration(place: Place) -> int:
    """Return the seconds for which a notebook keeps its machine between cells; 0 without an answer.

    As with variables, a stored answer counts only for a file that this user has signed.
    """
    return _read_answer(_keep_durations, place, _machine_key(place))


def keep_machine(place: Place, seconds: int) -> None:
    """Keep the answer that a notebook keeps its machine between cells; 0 deletes the answer.

    An answer that can't be stored counts for this process.
    """
    _keep_durations[place] = seconds
    answers = {name: number for name, number in _read_answers().items() if name != _machine_key(place)}
    if place.notebook:
        with suppress(OSError):
            write_json(consents_file(), {**answers, **({_machine_key(place): seconds} if seconds else {})})


def _machine_key(place: Place) -> str:
    return json.dumps(["machine", place.notebook, place.server, place.org])


def upload_speed(server: str, org: str) -> int | None:
    """Return the measured upload speed of an organization's bucket, in bytes per second; None before the first."""
    return _read_answers().get(_bucket_key(server, org))


def keep_upload_speed(server: str, org: str, size: int, seconds: float) -> None:
    """Keep the speed of an upload of ``size`` bytes for later questions, unless the upload was short."""
    if size < _SHORT_BYTES and seconds < _SHORT_SECONDS:
        return
    with suppress(OSError, UsageError):
        write_json(
            consents_file(), {**_read_answers(), _bucket_key(server, org): max(1, int(size / max(seconds, 1e-3)))}
        )


def _bucket_key(server: str, org: str) -> str:
    return json.dumps([server, org])


def _read_answers() -> dict[str, int]:
    """Return the stored answers and speeds; a broken file has none, so the question is shown again."""
    with suppress(UsageError):
        return {key: size for key, size in read_json(consents_file()).items() if type(size) is int and size > 0}
    return {}


def is_trusted(path: Path) -> bool:
    """Whether Jupyter's signatures on this machine contain the notebook, as after the user trusted or saved it."""
    try:
        import nbformat  # noqa: PLC0415 (a kernel may lack it)
        from nbformat.sign import NotebookNotary  # noqa: PLC0415

        notary: Any = NotebookNotary()
        try:
            return bool(notary.check_signature(nbformat.read(path, as_version=4)))
        finally:
            notary.store.close()
    except Exception:  # noqa: BLE001 (no file, no notebook or no signatures: not trusted)
        return False
