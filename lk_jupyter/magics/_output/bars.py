"""tqdm bars of a run as bars of the notebook: a row for each, updated in one output, with a text twin."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.magics._output.live import FONT, LiveOutput
from lk_jupyter.text.redact import redact

#: Rows that one output shows: the last ones.
ROWS = 12

_GRID = (
    f"{FONT}; color: var(--jp-ui-font-color1); display: grid; align-items: center; column-gap: 0.6em; "
    "grid-template-columns: fit-content(16em) auto minmax(6em, 16em) auto 1fr"
)
_MARKS = {"going": "●", "done": "✓", "stopped": "■"}
_COLOURS = {"going": "--jp-brand-color1", "done": "--jp-success-color1", "stopped": "--jp-ui-font-color2"}


@dataclass
class Bar:
    """One bar in its newest state: ``n`` of ``total`` (None: not known), and tqdm's own line as ``text``."""

    label: str
    n: float
    total: float | None
    text: str
    ended: bool = False

    @property
    def state(self) -> str:
        """State of the bar: going, done or stopped."""
        if not self.ended:
            return "going"
        return "done" if self.total is None or self.n >= self.total else "stopped"

    @property
    def figures(self) -> str:
        """What tqdm writes next to the bar."""
        return self.text.rpartition("|" if self.total else ": ")[2].strip()

    def __str__(self) -> str:
        return f"{self.text.strip()}{' (stopped)' if self.state == 'stopped' else ''}"

    def _row(self) -> str:
        share = f"{min(1.0, self.n / self.total):.0%}" if self.total else ""
        name = escape(self.label or "progress")
        known = f' max="{self.total:g}" value="{min(self.n, self.total):g}"' if self.total else ""
        value = ' max="1" value="1"' if self.ended and not self.total else known
        colour = f"var({_COLOURS[self.state]})"
        words = escape(f"{self.figures}{' stopped' if self.state == 'stopped' else ''}")
        return (
            f"<span>{escape(self.label)}</span>"
            f'<span aria-hidden="true" style="color: {colour}">{_MARKS[self.state]}</span>'
            f'<progress role="progressbar" aria-label="{name}" aria-valuetext="{share or words}"{value} '
            f'style="width: 100%; accent-color: {colour}"></progress>'
            f'<span style="text-align: right">{share}</span>'
            f'<span style="color: var(--jp-ui-font-color2)">{words}</span>'
        )


def is_bar(payload: dict[str, Any]) -> bool:
    """Whether a frame has all that a bar needs; the code of a run may send anything."""
    figures = all(isinstance(payload.get(name), (int, float, type(None))) for name in ("n", "total"))
    return (
        figures and isinstance(payload.get("bar"), int) and {"n", "total", "label", "text", "state"} <= payload.keys()
    )


def bar_of(payload: dict[str, Any]) -> Bar:
    """Return the bar that a frame describes."""
    label, text = (redact(str(payload[name])) for name in ("label", "text"))
    return Bar(label, payload["n"] or 0.0, payload["total"], text, ended=payload["state"] == "ended")


class Rows:
    """The bars of one output."""

    def __init__(self, bars: list[Bar]) -> None:
        self.left_out = max(0, len(bars) - ROWS)
        self.bars = bars[-ROWS:]

    def __str__(self) -> str:
        more = [f"… {self.left_out} bars before"] if self.left_out else []
        return "\n".join([*more, *map(str, self.bars)])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if not self.bars:
            return {"text/plain": "", "text/html": ""}
        more = f'<span style="grid-column: 1 / -1">… {self.left_out} bars before</span>' if self.left_out else ""
        html = f'<div style="{_GRID}">{more}{"".join(bar._row() for bar in self.bars)}</div>'
        return {"text/plain": str(self), "text/html": html}


class Bars:
    """The bars of a run. Bars that are active together are rows of one output.

    A bar that begins when all before it have ended, and text has come since, gets a new output below that text;
    ``most`` is how many outputs there may be.
    """

    def __init__(self, shell: InteractiveShell, most: int) -> None:
        self._shell = shell
        self._most = most
        self._outputs = 0
        self._output: LiveOutput | None = None
        self._bars: dict[int, Bar] = {}
        self._text_since = False

    def begin(self) -> None:
        """Make the output now, empty, and let it be the only one."""
        self._most = 0
        self._output = LiveOutput(self._shell)
        self._output.show(self.rows, now=True)

    def begins_output(self, payload: dict[str, Any]) -> bool:
        """Whether this state of a bar is shown in an output that is not there yet."""
        return payload.get("bar") not in self._bars and (
            self._output is None
            or (self._text_since and all(bar.ended for bar in self._bars.values()) and self._outputs < self._most)
        )

    def saw_text(self) -> None:
        """Record that text was shown below the bars."""
        self._text_since = True

    def show(self, payload: dict[str, Any]) -> None:
        """Show the state of a bar; what is none is left alone."""
        if not is_bar(payload):
            return
        if self.begins_output(payload):
            self.settle()
            self._bars, self._text_since = {}, False
            self._output = LiveOutput(self._shell)
            self._outputs += 1
        is_first = not self._bars
        self._take(payload)
        if self._output:
            self._output.show(self.rows, now=is_first)

    def _take(self, payload: dict[str, Any]) -> None:
        number, state = payload["bar"], payload["state"]
        if state == "gone":
            self._bars.pop(number, None)
            return
        self._bars[number] = bar_of(payload)

    @property
    def rows(self) -> Rows:
        """The bars of the present output."""
        return Rows(list(self._bars.values()))

    def tick(self) -> None:
        """Show what was passed over because it came too soon."""
        if self._output:
            self._output.show(self.rows)

    def end(self) -> None:
        """Show the bars at the end of the run; a bar that isn't complete has stopped."""
        for bar in self._bars.values():
            bar.ended = True
        self.settle()

    def settle(self) -> None:
        """Show the last state of the bars."""
        if self._output and self._bars:
            self._output.show(self.rows, now=True)
        elif self._output:
            self._output.settle(self.rows)
