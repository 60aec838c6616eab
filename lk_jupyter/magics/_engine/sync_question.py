"""The question before a cell sends variables that its line doesn't name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import clear_output

from lk_jupyter.code.variables import is_imported, named, reads_all
from lk_jupyter.config.consents import Place, allow, allowed_bytes, upload_speed
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.machines.catalogue import cost_at_limit, machine_cost
from lk_jupyter.magics._engine.ask import prompt_user, shows_questions
from lk_jupyter.options.runs import RunOptions, format_line
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.local_values import local_value_notices
from lk_jupyter.runs.submit.start import longest_notebook
from lk_jupyter.runs.variables.payload import changed_environment
from lk_jupyter.session import Session
from lk_jupyter.text.units import credits_label, size_label, whole_seconds_label

#: Bytes that are sent without another question, once the user agreed to send the variables of a notebook: before the
#: speed of the bucket was measured. Programs never send more without an option.
UNASKED_BYTES = 100_000_000

#: Seconds of an upload that starts without another question, at the measured speed of the bucket.
UNASKED_SECONDS = 10

#: Variables of the environment that a kernel, its launcher or ``import sklearn`` sets: no values of the user.
_PROCESS_VARIABLES = {
    *("CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "TERM"),
    *("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"),
}

#: Names that a question lists.
_LISTED = 6

#: Answers at the end of a question, which JupyterLab replaces with buttons: see ``labextension/src/syncQuestion.ts``.
KEYS = "[a]lways in this notebook, [o]nce, [f]resh process: "
KEYS_OFFER = "[a]lways in this notebook, [o]nce, [k]eep the machine, [f]resh process: "
KEYS_ALL = "[o]nce, [f]resh process: "

#: What a user types → the letter of the answer. Other text, such as the first word of a cell, is no answer.
_ANSWERS = {word: word[0] for word in ("a", "always", "o", "once", "k", "keep", "f", "fresh")}

#: Seconds for which the question offers to keep the machine between cells.
OFFERED_SECONDS = 300


@dataclass(frozen=True)
class SyncRequest:
    """Variables that a cell would send: their names in order of size, their bytes, and whether the cell reads all.

    ``speed`` is the measured upload speed of the bucket in bytes per second, None before the first measurement.
    ``advice`` is about values that fit this computer and not the machine; empty without such values.
    """

    names: tuple[str, ...]
    size: int
    reads_all: bool
    speed: int | None = None
    advice: str = ""

    @property
    def unasked_bytes(self) -> int:
        """Return the bytes that need no second question after the user agreed once."""
        return UNASKED_BYTES if self.speed is None else self.speed * UNASKED_SECONDS

    def __str__(self) -> str:
        listed = ", ".join(self.names[:_LISTED])
        more = f" and {len(self.names) - _LISTED} more" if len(self.names) > _LISTED else ""
        seconds = self.size / self.speed if self.speed else 0
        time = f", about {whole_seconds_label(seconds)} to upload" if seconds > UNASKED_SECONDS else ""
        everything = "all variables: " if self.reads_all else ""
        return f"This cell reads {everything}{listed}{more} ({size_label(self.size)}{time}).{self.advice}"


def chooses_fresh(session: Session, bundles: Sequence[Bundle], options: RunOptions, shell: InteractiveShell) -> bool:
    """Return whether the user chose a fresh process, after a question where one is needed.

    Raises UsageError where the question has no answer; nothing was sent then.
    """
    return choose_process(session, bundles, options, shell) == "f"


def choose_process(
    session: Session, bundles: Sequence[Bundle], options: RunOptions, shell: InteractiveShell, offer: str = ""
) -> Literal["", "f", "k"]:
    """Return the answer of the user, after a question where one is needed: f for a fresh process, k for a kept machine.

    ``offer`` describes the kept machine, if the question may offer it. Raises UsageError where the question has no
    answer; nothing was sent then.
    """
    if options.sync or not any(bundle.payload.carries for bundle in bundles):
        return ""
    place = current_place(session)
    request = sync_request(bundles, upload_speed(place.server, place.org))
    if request is None or (setting("carry") == "always" and not request.reads_all):
        return ""
    allowed = allowed_bytes(place)
    if allowed and not request.reads_all and request.size <= max(allowed, request.unasked_bytes):
        return ""
    reader = identify_answerer(shell)
    if reader == "program" and not request.reads_all and request.size <= UNASKED_BYTES:
        return ""
    answer = _prompt_answer(request, shell, offer) if reader == "user" else ""
    if answer not in {"a", "o", "f", "k"} or (answer == "k" and not offer):
        raise UsageError(_format_choices(request, options, reader))
    if answer in {"a", "k"} and not request.reads_all:
        allow(place, request.size)
    return "f" if answer == "f" else "k" if answer == "k" else ""


def offer_machine(session: Session, bundle: Bundle) -> str:
    """Return the offer to keep the machine of a bundle between cells, with its highest cost."""
    pause = machine_cost(bundle.machine, OFFERED_SECONDS)
    most = cost_at_limit(bundle.machine.price_per_hour, longest_notebook(session.assumptions))
    price = (
        f"{credits_label(pause)} per pause, at most {credits_label(most)} per machine" if pause else "an unknown price"
    )
    return f"Keeping the machine for {OFFERED_SECONDS // 60} min between cells costs {price}. "


def current_place(session: Session) -> Place:
    """Return the place that an answer is for: this notebook, and the organization whose bucket gets the values."""
    return Place(current_cell().notebook or "", session.target.key.base_url, session.target.org or "")


def sync_request(bundles: Sequence[Bundle], speed: int | None = None) -> SyncRequest | None:
    """Return the variables that runs would send without being named; None where there are none."""
    sizes = {
        name: size for bundle in bundles if bundle.payload.carries for name, size in _compute_sizes(bundle).items()
    }
    if not sizes:
        return None
    names = sorted(sizes, key=lambda name: (not name.isidentifier(), -sizes[name]))
    everything = any(reads_all(bundle.source.code) for bundle in bundles)
    advice = dict.fromkeys(f" {notice.text}." for bundle in bundles for notice in local_value_notices(bundle))
    return SyncRequest(tuple(names), sum(sizes.values()), everything, speed, "".join(advice))


def _compute_sizes(bundle: Bundle) -> dict[str, int]:
    """Return name → bytes of values of the notebook, and of files, that the line doesn't name.

    Imported modules, classes and functions are no values of the notebook.
    """
    payload, on_line = bundle.payload, named("in", getattr(bundle.options, "inputs", []))
    values = {**(payload.origin.values if payload.origin else {}), **dict.fromkeys(on_line, sys)}
    sizes = {variable.name: variable.size for variable in payload.inputs if not is_imported(values.get(variable.name))}
    environment = {
        f"os.environ[{name!r}]": len(value)
        for name, value in changed_environment().items()
        if value and name not in _PROCESS_VARIABLES
    }
    files = {repr(name): len(bundle.uploads[name]) for name in bundle.named_files if name in bundle.uploads}
    return {**sizes, **environment, **files}


def identify_answerer(shell: InteractiveShell) -> Literal["user", "program", "nobody"]:
    """Return who could answer a question of this cell.

    A program that executes a notebook in its own kernel, such as papermill or nbconvert, has decided to run all of the
    notebook. A program in the kernel of a user's notebook, such as an agent, must not answer for the user.
    """
    if getattr(shell, "kernel", None) is None:
        return "user" if sys.stdin is not None and sys.stdin.isatty() else "program"
    if shows_questions():
        return "user"
    return "nobody" if current_cell().notebook else "program"


def _prompt_answer(request: SyncRequest, shell: InteractiveShell, offer: str) -> str:
    """Return the first letter of the answer; the question leaves the output of the cell then."""
    offer = "" if request.reads_all else offer
    keys = KEYS_ALL if request.reads_all else KEYS_OFFER if offer else KEYS
    members = "Members of your organization can read the values."
    typed = prompt_user(f"{request} Send these variables and return changes? {members} {offer}{keys}").lower()
    if getattr(shell, "kernel", None) is not None:
        clear_output()
    return _ANSWERS.get(typed, "")


def _format_choices(request: SyncRequest, options: RunOptions, reader: str) -> str:
    line = f"%%lk_run {format_line(options)}".rstrip()
    limit = f" A program can send up to {size_label(UNASKED_BYTES)} without a question." if reader == "program" else ""
    always = [] if request.reads_all else ["%lk_config carry always --notebook"]
    lines = [*always, f"{line} --sync", f"{line} --fresh"]
    return "\n".join([f"{request}{limit} Nothing was sent. Choose one:", *lines])
