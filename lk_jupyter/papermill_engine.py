"""The engine ``lk`` of papermill: an entire notebook is executed on the cloud.

papermill is not a dependency of the package: only papermill imports this module.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Any

import nbformat
from papermill.engines import Engine
from papermill.log import logger

from lk_jupyter.options.calls import check_call
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.notebooks.notebook import CELL, prepare_notebook
from lk_jupyter.runs.observers.results import redact_output
from lk_jupyter.runs.run import Run
from lk_jupyter.session import current
from lk_jupyter.text.secrets import redact_values
from lk_jupyter.text.terminal import TerminalText

#: Arguments of papermill that are no options of a run.
_LOCAL = {"input_path", "start_timeout", "execution_timeout", "log_output", "stdout_file", "stderr_file"}


class LkEngine(Engine):  # type: ignore[misc]  # papermill has no types
    """Run the notebook in one run. Further arguments are the options of ``Session.run_notebook``.

    Example:
        >>> papermill.execute_notebook("in.ipynb", "out.ipynb", {"lr": 0.1}, engine_name="lk", gpu="A100")
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:  # noqa: ARG003 (one kernel)
        """Execute the notebook, and record each cell in ``nb_man``. papermill raises the error of a cell.

        ``execution_timeout``, in seconds, is the time limit of the run. ``log_output`` prints the log of the run.

        Raises:
            UsageError: An option or a value doesn't fit. Nothing was sent.
            RunFailed: The run failed, but not in a cell.
            RunAborted: The run was aborted.
        """
        path = Path(str(options.get("input_path") or "notebook.ipynb"))
        path = path if path.is_file() else Path(path.name)  # a notebook of a bucket, or without a file
        chosen = {name: value for name, value in options.items() if name not in _LOCAL}
        if options.get("execution_timeout") is not None:
            chosen.setdefault("timeout", options["execution_timeout"])
        checked = check_call("session.run_notebook", {**chosen, "notebook": str(path)})
        session = current()
        bundle = prepare_notebook(session, checked, nbformat.writes(nb_man.nb).encode())
        run = Run.submit(session, bundle)
        logger.info(f"Run {run.short_id} on {bundle.machine.hardware_profile}")
        cells = _Cells(nb_man, {name: options.get(f"{name}_file") for name in ("stdout", "stderr")})
        with AtInterrupt(lambda _: run.abort_unless_ended()), true_interrupts():
            _follow_run(run, cells, log_output=bool(options.get("log_output")))
        logger.info(f"Run {run.short_id}: {run.status}, {run.cost} credits")
        if not cells.has_error:
            run.result()


class _Cells:
    """The cells of a notebook that papermill manages; ``has_error`` is whether a cell failed."""

    def __init__(self, manager: Any, files: dict[str, Any]) -> None:
        self.has_error = False
        self._manager = manager
        self._files = files

    def add(self, payload: dict[str, Any]) -> None:
        """Record the state of a cell, or the metadata of the notebook, from a signed message of the run."""
        index, state, book = payload.get("index"), payload.get("state"), self._manager.nb
        if state == "metadata":
            metadata = redact_values(dict(payload["metadata"]))
            book.metadata.update(nbformat.from_dict({**metadata, "papermill": book.metadata.papermill}))
        if not isinstance(index, int) or not 0 <= index < len(book.cells):
            return
        cell = book.cells[index]
        if state == "running":
            self._manager.cell_start(cell, index)
            return
        cell.outputs = [nbformat.from_dict(redact_output(output)) for output in payload["outputs"]]
        cell.execution_count = payload["count"]
        if state == "updated":
            return
        self._write_files(cell)
        if state != "ok":
            self.has_error = True
            self._manager.cell_exception(cell, index)
        self._manager.cell_complete(cell, index)

    def _write_files(self, cell: Any) -> None:
        """Write the text of a cell into the files that papermill was started with."""
        for output in cell.outputs:
            file = self._files.get(output.get("name", ""))
            if output.output_type == "stream" and file:
                file.write(output.text)
                file.flush()


def _follow_run(run: Run, cells: _Cells, *, log_output: bool) -> None:
    """Pass the messages of a run to its end. Raises the error that stopped the reading."""
    terminal = TerminalText()
    for item in chain.from_iterable(RunMonitor(run).start().batches()):
        if isinstance(item, Frame):
            if item.kind == CELL:
                cells.add(dict(item.payload))
        elif log_output:
            sys.stdout.write(terminal.allowed_text(item))
    run.wait_aside()
