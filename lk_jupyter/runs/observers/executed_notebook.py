"""The executed notebook of a run, written cell by cell."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.protocol.parts import SETTINGS
from lk_jupyter.runs.notebooks.notebook import CELL, PART
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.run import Run
from lk_jupyter.text.redact import redact_bundle, redact_values


class Executed(RunObserver):
    """Writes the executed notebook as its cells end, and tells how far it is."""

    def __init__(self, book: dict[str, Any], target: Path) -> None:
        self._book = copy.deepcopy(book)
        self._target = target
        self._code = [at for at, cell in enumerate(book["cells"]) if cell["cell_type"] == "code"]
        self._running: int | None = None
        self._done: set[int] = set()
        self._trouble = ""

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (the frames tell)
        """Return which cell runs, of how many."""
        if self._running is None:
            return []
        return [f"cell {self._code.index(self._running) + 1} of {len(self._code)}"]

    def remarks(self) -> list[Notice]:
        """Return how the cell that runs begins."""
        if self._running is None:
            return []
        first = next((line for line in self._book["cells"][self._running]["source"].splitlines() if line.strip()), "")
        return [Notice(first.strip()[:80])]

    def saw(self, frame: Frame) -> None:
        """Take note of a cell."""
        at = frame.payload.get("index")
        if frame.kind == CELL and frame.payload.get("state") == "metadata":
            self._book["metadata"].update(redact_values(dict(frame.payload["metadata"])))
            self._write()
        if frame.kind != CELL or at not in self._code:
            return
        if frame.payload["state"] == "running":
            self._running = at
            return
        outputs = [_without_secrets(output) for output in frame.payload["outputs"]]
        self._book["cells"][at].update(outputs=outputs, execution_count=frame.payload["count"])
        self._done.add(at)
        self._write()

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002 (the state is enough)
        """Tell where the notebook is, and how much of it ran."""
        self._running = None
        if self._trouble:
            return [Notice(f"Can't write the executed notebook: {self._trouble}", WARNING)]
        if not self._done:
            return []
        part = (
            f", {len(self._done)} of {len(self._code)} cells" if record.status.lower() not in SUCCEEDED_STATES else ""
        )
        return [Notice(f"Executed notebook: {self._target}{part}")]

    def _write(self) -> None:
        new = self._target.with_name(f".{self._target.name}.new")
        try:
            new.write_text(json.dumps(self._book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            new.replace(self._target)
        except OSError as error:
            self._trouble = str(error)


def _without_secrets(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output as a notebook may keep it."""
    kept: dict[str, Any] = redact_values({name: _joined(value) for name, value in output.items() if name != "data"})
    if "data" in output:
        kept["data"] = redact_bundle({kind: _joined(form) for kind, form in dict(output["data"]).items()})
    return kept


def _joined(text: Any) -> Any:
    """Return a text whole that is a list of lines, over which a secret may go."""
    is_lines = isinstance(text, list) and text and all(isinstance(line, str) for line in text)
    return "".join(text) if is_lines and all(line.endswith("\n") for line in text[:-1]) else text


def executed(run: Run | None, package: Bundle | None) -> Iterator[RunObserver]:
    """Yield what brings the notebook of a run back, if it is the run of one."""
    entry = journal().get(run.execution_id) if run else None
    kept = package.request.import_files if package else entry and entry.request.get("import_files")
    with suppress(ValueError, KeyError, TypeError):  # it was kept without its files, or never was a notebook
        settings = json.loads(json.loads(kept or "{}")[SETTINGS])["parts"][PART]
        yield Executed(settings["book"], Path(settings["target"]))
