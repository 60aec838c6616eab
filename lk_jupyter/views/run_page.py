"""A run as one HTML file to share: curves, code, environment, cost, figures and log, without secrets.

The page contains no script and loads nothing: a policy in its head forbids both, also in what the run printed. Figures
are pictures in the file. HTML of the run isn't included, because it could contain scripts; its text is.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timezone
from html import escape
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.states import state_label
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.protocol.frames import SHOWN, Frame, format_frame
from lk_jupyter.runs.history.diff import Side, read_side
from lk_jupyter.runs.reader import RunReader
from lk_jupyter.runs.run import Run
from lk_jupyter.text.scalars import Curve
from lk_jupyter.text.secrets import COLOUR, LineRedactor, redact
from lk_jupyter.text.terminal import TerminalText, plain

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Lines of the log, figures, and bytes of all figures in a page.
_MOST_LINES, _MOST_FIGURES, _MOST_BYTES = 2_000, 50, 20_000_000

#: Pictures, in order of preference. A browser runs no script in a picture.
_PICTURES = ("image/png", "image/jpeg", "image/svg+xml")

#: Size of a chart in pixels.
_WIDTH, _HEIGHT, _MARGIN, _BOTTOM = 420, 150, 56, 20

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--lk-line:color-mix(in srgb,currentColor 25%,transparent);--lk-mark:#0b6bcb}
@media(prefers-color-scheme:dark){:root{--lk-mark:#6cb6ff}}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:0}dt{opacity:.75}
dd{margin:0;overflow-wrap:anywhere}
pre{font:13px/1.45 ui-monospace,monospace;overflow:auto;max-height:32rem;padding:.75rem}
pre{border:1px solid var(--lk-line);border-radius:4px}
.charts{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0 0 1rem}figcaption{font-weight:600}
svg{width:100%;max-width:420px;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}
polyline{fill:none;stroke:var(--lk-mark);stroke-width:1.5}line{stroke:var(--lk-line)}img{max-width:100%;background:#fff}
"""


def render_run(connection: Connection, name: str) -> str:
    """Return a run that has ended as a page. Raises UsageError for an active or unknown run."""
    run = Run.attach(connection, name)
    record = run.record
    if not is_final(record.status):
        raise UsageError(
            f"Run {run.short_id} is still active. Nothing was written. Wait for its end: %lk_wait {run.short_id}"
        )
    output = _read_output(run)
    side = read_side(connection, run.execution_id)
    title = redact(plain(record.run_name or "")) or f"Run {run.short_id}"
    summary = [
        ("State", state_label(record.status, record.run_name)),
        *_yield_facts(side, "Machine", "Duration", "Cost", "Error"),
    ]
    if record.created_at:
        summary.append(("Started", f"{record.created_at.astimezone(timezone.utc):%Y-%m-%d %H:%M UTC}"))
    summarized = {name for name, _ in summary}
    environment = [(name, value) for name, value in side.facts.items() if value and name not in summarized]
    parts = [
        _render_facts([*summary, ("Id", run.execution_id)]),
        _render_section("Curves", _render_charts(side.curves)),
        _render_section("Figures", _render_figures(output.figures)),
        _render_section("Code", _render_preformatted(side.code)),
        _render_section("Environment", _render_facts(environment)),
        _render_section("Log", _render_preformatted(output.log)),
    ]
    return _render_page(title, "".join(parts))


class _Output:
    """The output of a run: log lines, and figures in their last state."""

    def __init__(self) -> None:
        self._text = TerminalText()
        self._figures: list[tuple[str, dict[str, Any]]] = []

    @property
    def figures(self) -> list[dict[str, Any]]:
        """The outputs besides text, by media type."""
        return [data for _, data in self._figures]

    @property
    def log(self) -> str:
        """The end of the log."""
        lines, _ = self._text.take()
        lines = [*lines, *self._text.end()]
        omitted = len(lines) - _MOST_LINES
        head = [f"… {omitted:,} earlier lines are left out"] if omitted > 0 else []
        return "\n".join([*head, *lines[-_MOST_LINES:]])

    def add(self, item: str | Frame) -> None:
        """Add the next part of the output."""
        if isinstance(item, Frame) and item.kind == "clear":
            self._figures.clear()
        elif isinstance(item, Frame) and item.kind in SHOWN:
            self._add_figure(item.payload)
        else:
            self._text.feed(item if isinstance(item, str) else format_frame(item))

    def _add_figure(self, payload: dict[str, Any]) -> None:
        """Add an output, or replace the output with the same id."""
        name, data = str(payload.get("id") or ""), payload.get("data")
        if not isinstance(data, dict):
            return
        places = [at for at, (other, _) in enumerate(self._figures) if name and other == name]
        for at in places:
            self._figures[at] = (name, data)
        if not places:
            self._figures.append((name, data))


def _read_output(run: Run) -> _Output:
    """Return the output of an ended run; figures that can't be downloaded are left out."""
    output, reader = _Output(), RunReader(run)
    for text in reader.chunks():
        for item in reader.split(text):
            output.add(_complete_item(run, item))
    for item in reader.split("", is_last=True):
        output.add(_complete_item(run, item))
    return output


def _complete_item(run: Run, item: str | Frame) -> str | Frame:
    with suppress(LkError):
        return item if isinstance(item, str) else run.messages.complete(item)
    return ""


def _yield_facts(side: Side, *names: str) -> Iterator[tuple[str, str]]:
    yield from ((name, side.facts[name]) for name in names if side.facts.get(name))


def _render_text(text: str) -> str:
    """Return a text as HTML, without control characters and secrets."""
    lines = LineRedactor().lines(plain(COLOUR.sub("", text)).split("\n"))
    return escape("\n".join(lines))


def _render_facts(facts: Iterable[tuple[str, str]]) -> str:
    """Return facts as a list of definitions; of a path, only the name of the file."""
    rows = "".join(
        f"<dt>{_render_text(name)}</dt>"
        f"<dd>{_render_text(value.rpartition('/')[2] if name == 'Notebook' else value)}</dd>"
        for name, value in facts
    )
    return f"<dl>{rows}</dl>" if rows else ""


def _render_preformatted(text: str) -> str:
    return f'<pre tabindex="0">{_render_text(text.strip(chr(10)))}</pre>' if text.strip() else ""


def _render_section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _render_figures(outputs: Sequence[dict[str, Any]]) -> str:
    """Return outputs as pictures, or as text where an output has no picture."""
    size = 0
    figures: list[str] = []
    for data in outputs:
        figure = _render_picture(data) or _render_preformatted(_join_lines(data.get("text/plain")))
        size += len(figure)
        if len(figures) == _MOST_FIGURES or size > _MOST_BYTES:
            figures.append(f"<p>{len(outputs) - len(figures)} more outputs are left out.</p>")
            break
        figures.append(figure)
    return "".join(figures)


def _render_picture(data: dict[str, Any]) -> str:
    """Return a picture as an element; empty without a picture. A browser runs no script in an img element."""
    caption = _render_text(_join_lines(data.get("text/plain"))[:200].replace("\n", " "))
    for kind in _PICTURES:
        content = _join_lines(data.get(kind))
        if not content:
            continue
        if kind.endswith("xml"):
            encoded = base64.b64encode(redact(content).encode()).decode()
        else:
            try:
                encoded = base64.b64encode(base64.b64decode(content)).decode()
            except (binascii.Error, ValueError):
                continue
        return f'<figure><img alt="{caption}" src="data:{kind};base64,{encoded}"></figure>'
    return ""


def _join_lines(text: object) -> str:
    """Return the text of a form of an output, which may be stored as lines."""
    return "".join(map(str, text)) if isinstance(text, list) else text if isinstance(text, str) else ""


def _render_charts(curves: Sequence[Curve]) -> str:
    charts = "".join(map(_render_chart, curves))
    return f'<div class="charts">{charts}</div>' if charts else ""


def _render_chart(curve: Curve) -> str:
    """Return a curve as a picture of lines, with the range of both axes; empty for a curve without a finite value."""
    points = [
        (step, value)
        for step, value in zip(curve.steps, curve.values, strict=False)
        if math.isfinite(step) and math.isfinite(value)
    ]
    if not points:
        return ""
    steps, values = zip(*points, strict=True)
    first, last, low, high = min(steps), max(steps), min(values), max(values)

    def place(step: float, value: float) -> str:
        x = _MARGIN + (_WIDTH - _MARGIN - 8) * ((step - first) / (last - first) if last > first else 0.5)
        y = 8 + (_HEIGHT - _BOTTOM - 8) * ((high - value) / (high - low) if high > low else 0.5)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(step, value) for step, value in points)
    name = _render_text(curve.name)
    label = f"{name}: {values[-1]:.4g} at step {steps[-1]:.4g}, from {low:.4g} to {high:.4g}"
    bottom = _HEIGHT - _BOTTOM
    return (
        f"<figure><figcaption>{name} {values[-1]:.4g}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f'<line x1="{_MARGIN}" y1="{bottom}" x2="{_WIDTH}" y2="{bottom}"/>'
        f'<polyline points="{line}"/>'
        f'<text x="{_MARGIN - 6}" y="16" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_MARGIN - 6}" y="{bottom}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 4}">{first:.6g}</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 4}" text-anchor="end">{last:.6g}</text></svg></figure>'
    )


def _render_page(title: str, content: str) -> str:
    name = _render_text(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title><style>{_STYLE}</style></head>'
        f"<body><main><h1>{name}</h1>{content}</main></body></html>\n"
    )
