"""Show the frames of a run besides text: outputs in order, updated in place; tqdm bars too.

The bars that are active together are the rows of an output, with a text form.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.page import page
from IPython.display import DisplayHandle, display

from lk_jupyter.config.settings import setting
from lk_jupyter.magics._output.live import LiveOutput, has_kernel, has_updates, write_text
from lk_jupyter.protocol.frames import NUMBER_KEY, UNSIGNED, Frame, read_caught_error
from lk_jupyter.text.secrets import redact, redact_payload
from lk_jupyter.text.terminal import only_colors
from lk_jupyter.views.bars import BarGroups, Rows, is_bar


class RichOutput:
    """The rich outputs of a run, in order; ``before`` writes the text that precedes a new output.

    ``outputs`` are shown again after the code of the run clears its outputs.
    """

    def __init__(self, shell: InteractiveShell, before: Callable[[], None], outputs: Sequence[LiveOutput] = ()) -> None:
        most: int = setting("rich_outputs")
        self._before = before
        self._bundles = MimeOutputs(shell, most, outputs)
        self._bars = Bars(shell, most if self._bundles.in_place or not has_kernel(shell) else 1)
        self._shell = shell
        self._within: Any = None
        self._unsigned = 0

    def show(self, frame: Frame) -> None:
        """Show a frame of a kind that has an output."""
        payload = frame.payload
        self._unsigned += frame.kind == UNSIGNED
        if frame.kind == "display":
            self._bundles.display(payload, self._before)
        elif frame.kind == "update":
            self._bundles.update(payload)
        elif error := read_caught_error(frame):
            self._bundles.settle()
            self._before()
            show_error(self._shell, error)
        elif frame.kind == "page":
            page(str(payload.get("text", "")))
        elif frame.kind == "within":
            self._move_into_widget(str(payload.get("model", "")))
        elif frame.kind == "clear" and self._within:
            self._before()
            self._shell.display_pub.clear_output(wait=bool(payload.get("wait")))
        elif frame.kind == "clear":
            self._before()
            self._bundles.clear(wait=bool(payload.get("wait")))
        elif frame.kind == "bar":
            if self._bars.begins_output(payload):
                self._bundles.settle()
                self._before()
            self._bars.show(payload)

    def _move_into_widget(self, model: str) -> None:
        """Capture the following output in an Output widget, if the code is inside its context."""
        from lk_jupyter.remote.carry.kinds.widgets import output_for  # noqa: PLC0415 (only for variables)

        self._before()
        if self._within:
            self._within.__exit__(None, None, None)
            self._within = None
        if model and has_kernel(self._shell):
            with suppress(ImportError):
                self._within = output_for(model)
                self._within.__enter__()

    def prepare_text(self) -> None:
        """Make ready for text."""
        self._bundles.settle()

    def record_text(self) -> None:
        """Remember that text was shown."""
        self._bars.record_text()

    def tick(self) -> None:
        """Show the updates that were skipped because they arrived too soon."""
        self._bars.tick()
        if lines := self._bars.due_lines():
            self._before()
            write_text(lines)

    def end(self, damaged: int) -> list[str]:
        """Settle all outputs, and return the closing notes. ``damaged`` is the number of damaged frames."""
        self._bundles.end(self._before)
        self._bars.end()
        if self._within:
            self._move_into_widget("")
        omitted = self._bundles.omitted
        notes = (
            [
                (
                    f"… {omitted:,} more outputs of the run aren't kept in the notebook. Change the limit: %lk_config "
                    "rich_outputs"
                )
            ]
            if omitted
            else []
        )
        if self._unsigned:
            notes.append(f"… {self._unsigned:,} messages without the signature of the run were ignored")
        return [*notes, *([f"… {damaged:,} outputs of the run arrived damaged and aren't shown"] if damaged else [])]


def show_error(shell: InteractiveShell, error: dict[str, Any]) -> None:
    """Show an error that didn't end the code, like the shell shows its errors."""

    def clean(text: object) -> str:
        return only_colors(redact(str(text))).encode("utf-8", "replace").decode()

    kind = type(clean(error.get("ename", "")), (Exception,), {})
    shell._showtraceback(kind, kind(clean(error.get("evalue", ""))), list(map(clean, error["traceback"])))


class MimeOutputs:
    """The bundles of a run, in at most ``most`` outputs; further bundles are counted.

    A clear removes all outputs of the cell; ``outputs`` are shown again.
    """

    def __init__(self, shell: InteractiveShell, most: int, outputs: Sequence[LiveOutput]) -> None:
        self._shell = shell
        self.in_place = has_updates(shell)
        self._in_kernel = has_kernel(shell)
        self._most = most
        self._outputs = outputs
        self._clears = False
        self._named: dict[str, list[tuple[DisplayHandle, int]]] = {}
        self._newest: dict[str, dict[str, Any]] = {}  # updates that wait for the end, where outputs never change
        self._count = 0
        self.omitted = 0

    def display(self, payload: dict[str, Any], before: Callable[[], None]) -> None:
        """Show a bundle as an output; ``before`` is called before a new output below the text."""
        data, metadata = redact_payload(payload)
        self.settle()
        if self._count >= self._most:
            self.omitted += 1
            return
        before()
        self._count += 1
        metadata = self._add_number(metadata, self._count)
        self._newest.pop(str(payload.get("id", "")), None)
        # An id that the code gave is known to other cells too.
        name = str(payload.get("id") or "") or True if self.in_place or not self._in_kernel else None
        handle = display(data, metadata=metadata, raw=True, display_id=name)
        if handle and self.in_place and "id" in payload:
            self._named.setdefault(str(payload["id"]), []).append((handle, self._count))

    def update(self, payload: dict[str, Any]) -> None:
        """Show a bundle in place of the outputs with the same id, in any cell."""
        data, metadata = redact_payload(payload)
        name = str(payload.get("id", ""))
        if self._in_kernel and not self.in_place:
            self._newest[name] = payload
            return
        handles = self._named.get(name) or ([(DisplayHandle(name), 0)] if name and self.in_place else [])
        for handle, number in handles[-1:]:
            handle.update(data, metadata=self._add_number(metadata, number), raw=True)

    def _add_number(self, metadata: dict[str, Any], number: int) -> dict[str, Any]:
        """Add the number of an output, by which a page continues after the last output that the cell shows."""
        return {**metadata, NUMBER_KEY: number} if self.in_place and number else metadata

    def end(self, before: Callable[[], None]) -> None:
        """Show the last state of each output that was updated, where outputs never change."""
        newest, self._newest = self._newest, {}
        for payload in newest.values():
            self.display({**payload, "id": ""}, before)

    def clear(self, *, wait: bool) -> None:
        """Clear the outputs, immediately or before the next output."""
        self._clears = self._in_kernel
        self._newest.clear()
        if not wait:
            self.settle()

    def settle(self) -> None:
        """Apply a pending clear, before a new output."""
        if self._clears:
            self._clears = False
            self._count = 0
            self._shell.display_pub.clear_output(wait=True)
            for output in self._outputs:
                output.show_again()


#: Seconds between two lines of the log that show the active bars.
_LINES_PACE = 30.0


class Bars:
    """Show the bars of a run, each group as an output; ``most`` limits the number of outputs."""

    def __init__(self, shell: InteractiveShell, most: int) -> None:
        self._shell = shell
        self._output: LiveOutput | None = None
        self._groups = BarGroups(most)
        self._lines_time = time.monotonic()

    def begin(self) -> None:
        """Create the only output now, empty."""
        self._groups.begin()
        self._output = LiveOutput(self._shell)
        self._output.show(self.rows, now=True, passing=True)

    def begins_output(self, payload: dict[str, Any]) -> bool:
        """Return whether this state of a bar needs a new output."""
        return self._groups.starts_group(payload)

    def record_text(self) -> None:
        """Record that text was shown below the bars."""
        self._groups.record_text()

    def show(self, payload: dict[str, Any]) -> None:
        """Show the state of a bar; ignore other payloads."""
        if not is_bar(payload):
            return
        if self.begins_output(payload):
            self.settle()
            self._output = LiveOutput(self._shell)
        is_first = not self.rows.bars or self.begins_output(payload)
        self._groups.update(payload)
        if self._output:
            self._output.show(self.rows, now=is_first, passing=True)

    @property
    def rows(self) -> Rows:
        """The bars of the present output."""
        rows = self._groups.rows
        rows.number = rows.number if self._output and self._output.in_place else 0
        return rows

    def tick(self) -> None:
        """Show the update that was skipped because it arrived too soon."""
        if self._output:
            self._output.show(self.rows)

    def due_lines(self) -> str:
        """Return the active bars as lines of the log, now and then, where outputs never change."""
        if not self._output or not self._output.appends or time.monotonic() - self._lines_time < _LINES_PACE:
            return ""
        self._lines_time = time.monotonic()
        return "".join(f"{bar}\n" for bar in self.rows.bars if not bar.ended)

    def end(self) -> None:
        """Show the bars at the end of the run; a bar that isn't complete has stopped."""
        self._groups.end()
        self.settle()

    def settle(self) -> None:
        """Show the last state of the bars."""
        rows = self.rows
        if self._output and rows.bars:
            self._output.show(rows, now=True)
        elif self._output:
            self._output.settle(rows)
