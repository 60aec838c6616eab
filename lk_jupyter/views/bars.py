"""Draw the progress bars of a run: tqdm bars that are active together are the rows of an output."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from lk_jupyter.protocol.frames import NUMBER_KEY
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import one_line, plain

#: Rows of an output: the last ones.
ROWS = 12

#: Style of text in an output of a cell.
FONT = "font-family: var(--jp-ui-font-family); font-size: var(--jp-ui-font-size1); padding-left: 8px"
_GRID = (
    f"{FONT}; color: var(--jp-ui-font-color1); display: grid; align-items: center; column-gap: 0.6em; "
    "grid-template-columns: fit-content(16em) auto minmax(6em, 16em) auto 1fr"
)
_MARKS = {"going": "●", "done": "✓", "stopped": "■"}
_COLOURS = {"going": "--jp-brand-color1", "done": "--jp-success-color1", "stopped": "--jp-ui-font-color2"}


@dataclass
class Bar:
    """A progress bar in its newest state: ``n`` of ``total`` (None: unknown), and the line of tqdm as ``text``."""

    label: str
    n: float
    total: float | None
    text: str
    ended: bool = False

    def __post_init__(self) -> None:
        """Keep control characters out: a label may be the name of a file in the bucket."""
        self.label, self.text = one_line(self.label), plain(self.text).replace("\n", " ")

    @property
    def state(self) -> str:
        """State of the bar: going, done or stopped."""
        if not self.ended:
            return "going"
        return "done" if self.total is None or self.n >= self.total else "stopped"

    @property
    def figures(self) -> str:
        """The figures of tqdm next to the bar."""
        return self.text.rpartition("|" if self.total else ": ")[2].strip()

    def __str__(self) -> str:
        return f"{self.text.strip()}{' (stopped)' if self.state == 'stopped' else ''}"

    def _render_row(self) -> str:
        share = f"{min(1.0, self.n / self.total):.0%}" if self.total else ""
        name = escape(self.label or "progress")
        attributes = f' max="{self.total:g}" value="{min(self.n, self.total):g}"' if self.total else ""
        value = ' max="1" value="1"' if self.ended and not self.total else attributes
        colour = f"var({_COLOURS[self.state]})"
        words = escape(f"{self.figures}{' stopped' if self.state == 'stopped' else ''}")
        bar = (
            f'<progress role="progressbar" aria-label="{name}" aria-valuetext="{share or words}"{value} '
            f'style="width: 100%; accent-color: {colour}"></progress>'
        )
        return (
            f"<span>{escape(self.label)}</span>"
            f'<span aria-hidden="true" style="color: {colour}">{_MARKS[self.state]}</span>'
            f"{bar if value else '<span></span>'}"  # a bar without a value would be animated forever
            f'<span style="text-align: right">{share}</span>'
            f'<span style="color: var(--jp-ui-font-color2)">{words}</span>'
        )


def is_bar(payload: dict[str, Any]) -> bool:
    """Whether a frame has all that a bar needs; the code of a run may send anything."""
    figures = all(isinstance(payload.get(name), (int, float, type(None))) for name in ("n", "total"))
    return (
        figures and isinstance(payload.get("bar"), int) and {"n", "total", "label", "text", "state"} <= payload.keys()
    )


def parse_bar(payload: dict[str, Any]) -> Bar:
    """Return the bar that a frame describes."""
    label, text = (redact(str(payload[name])) for name in ("label", "text"))
    return Bar(label, payload["n"] or 0.0, payload["total"], text, ended=payload["state"] == "ended")


class Rows:
    """The bars of an output; ``number`` counts the outputs with bars of a run, 0 if no page continues the bars."""

    def __init__(self, bars: list[Bar], number: int = 0) -> None:
        self.number = number
        self.omitted = max(0, len(bars) - ROWS)
        self.bars = bars[-ROWS:]

    def __str__(self) -> str:
        more = [f"… {self.omitted} bars before"] if self.omitted else []
        return "\n".join([*more, *map(str, self.bars)])

    def bundle(self) -> dict[str, str]:
        """Return the bars as text and HTML."""
        if not self.bars:
            return {"text/plain": "", "text/html": ""}
        more = f'<span style="grid-column: 1 / -1">… {self.omitted} bars before</span>' if self.omitted else ""
        html = f'<div style="{_GRID}">{more}{"".join(bar._render_row() for bar in self.bars)}</div>'
        return {"text/plain": str(self), "text/html": html}

    @property
    def metadata(self) -> dict[str, Any]:
        """The number of the output, negative among the numbers of outputs; empty if no page continues the bars."""
        return {NUMBER_KEY: -self.number} if self.number else {}

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        return self.bundle(), self.metadata


class BarGroups:
    """The bars of a run, in groups: each group is an output.

    A bar that starts after all earlier bars have ended, with text since, starts a new group; ``most`` limits the number
    of groups.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.number = 0
        self._bars: dict[int, Bar] = {}
        self._has_text_since = False

    def begin(self) -> None:
        """Start the only group."""
        self._most, self.number = 0, 1

    def starts_group(self, payload: dict[str, Any]) -> bool:
        """Return whether this state of a bar needs a new output."""
        return payload.get("bar") not in self._bars and (
            self.number == 0
            or (self._has_text_since and all(bar.ended for bar in self._bars.values()) and self.number < self._most)
        )

    def record_text(self) -> None:
        """Record that text was shown below the bars."""
        self._has_text_since = True

    def update(self, payload: dict[str, Any]) -> None:
        """Set the state of a bar."""
        if self.starts_group(payload):
            self._bars, self._has_text_since, self.number = {}, False, self.number + 1
        if payload["state"] == "gone":
            self._bars.pop(payload["bar"], None)
        else:
            self._bars[payload["bar"]] = parse_bar(payload)

    def end(self) -> None:
        """End all bars; a bar that isn't complete has stopped."""
        for bar in self._bars.values():
            bar.ended = True

    @property
    def rows(self) -> Rows:
        """The bars of the present group."""
        return Rows(list(self._bars.values()), self.number)
