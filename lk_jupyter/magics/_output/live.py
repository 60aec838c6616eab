"""Show lines of an output: as HTML and as text, updated in place."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from copy import copy
from datetime import datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.states import label_of, mark_of
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.text.secrets import COLOUR, LineRedactor, redact, redact_bundle, redact_values
from lk_jupyter.text.terminal import TerminalText, plain, shorten_text, terminal_columns, wrap_lines
from lk_jupyter.text.units import count_label, moment_label
from lk_jupyter.views.bars import FONT

#: Seconds between two updates of a line.
PACE = 1.0

#: Seconds until the first line about the progress of a step where outputs never change, and between two lines.
_FIRST_LINE_SECONDS, _LINE_SECONDS = 5.0, 10.0

#: Lines of stderr in a folded output: the last lines.
STDERR_LINES = 200

#: A space at which a line isn't wrapped.
_FIRM = "\xa0"

_ADDRESS = re.compile(r"https?://[^\s<>&]+(?<![.,;:)])")
#: A run as data: the Lab extension draws a header and keeps the state current; other front ends show the text of the
#: bundle.
RUN_MIME = "application/vnd.lk.run+json"
#: Class of the receipt in the last output, which the style of our extension hides.
RECEIPT_CLASS = "lk-receipt"

#: Key of the options that hints suggest, in the metadata of an output.
HINTS_KEY = "lk_jupyter_hints"

_COLOURS = {"✓": "--jp-success-color1", "✗": "--jp-error-color1", "●": "--jp-brand-color1"}


_MARKED = "color: var(--jp-ui-font-color1); border-left: 3px solid var(--jp-warn-color1, #f57c00); margin: 6px 0"


class StatusLine:
    """A state with its mark, facts next to the state, and an optional notice below, all without secrets.

    ``metadata`` is stored in the notebook with the output, for programs to read. ``run`` is the run with this state, as
    data of RUN_MIME.
    """

    def __init__(self, state: str, facts: list[str], notice: str = "") -> None:
        self.metadata: dict[str, Any] = {}
        self.run: dict[str, Any] = {}
        self.mark = mark_of(state)
        self._notice: str
        self._notice, self.state, *self.facts = map(
            plain, redact_values([notice, label_of(state), *filter(None, facts)])
        )

    @property
    def notice(self) -> str:
        """The text below the line."""
        return self._notice

    @notice.setter
    def notice(self, text: str) -> None:
        self._notice = plain(redact(text))

    def add_moment(self) -> StatusLine:
        """Add the current time to the state, for an output that may stay after the state has changed."""
        self.state = f"{self.state} at {moment_label(datetime.now().astimezone(), '%H:%M, %d %b')}"
        return self

    def heading(self) -> StatusLine:
        """Return the line for the output above the log if the receipt is the last output: state and start of the id.

        The data of RUN_MIME stays complete: our extension draws its header, which shows the receipt, from this data.
        """
        heading = copy(self)
        heading.metadata, heading.notice = {}, ""
        heading.facts = [f"run {str(self.run.get('execution_id', ''))[:SHORT_ID]}"]
        heading.run = {**self.run, "notes": self._notice.splitlines()}
        return heading

    def leave_out(self, earlier: set[str]) -> None:
        """Remove the parts of the notice that lines above already show, and add the new parts to ``earlier``."""
        new = [part for part in self._notice.splitlines() if part not in earlier]
        earlier.update(new)
        self._notice = "\n".join(new)

    def __str__(self) -> str:
        facts = [fact.replace(" ", _FIRM) for fact in (f"{self.mark} {self.state}", *self.facts)]
        lines = [" · ".join(facts), *(f"  {part}" for part in self._notice.splitlines())]
        return wrap_lines("\n".join(lines), terminal_columns(), "  ").replace(_FIRM, " ")

    def _render_html(self) -> str:
        colour = f"var({_COLOURS.get(self.mark, '--jp-ui-font-color2')})"
        facts = "".join(f' <span aria-hidden="true">·</span> {link_addresses(fact)}' for fact in self.facts)
        notice = "".join(
            f'<div style="color: var(--jp-ui-font-color2)">{link_addresses(part)}</div>'
            for part in self._notice.splitlines()
        )
        return (
            f'<div role="status" style="{FONT}; color: var(--jp-ui-font-color1)">'
            f'<span aria-hidden="true" style="color: {colour}">{self.mark}</span> '
            f"<strong>{escape(self.state)}</strong>{facts}{notice}</div>"
        )

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        forms: dict[str, Any] = {"text/plain": str(self), "text/html": self._render_html()}
        if self.run:
            facts = redact_values({"notes": self._notice.splitlines(), **self.run})
            forms[RUN_MIME] = redact_values(facts, plain)
        return forms, self.metadata


def link_addresses(text: str) -> str:
    """Return text as HTML, in which web addresses can be clicked."""
    return _ADDRESS.sub(r'<a href="\g<0>" target="_blank" rel="noopener noreferrer">\g<0></a>', escape(text))


class Note:
    """A dim line, or no output if the text is empty."""

    def __init__(self, text: str) -> None:
        self.text = plain(text)

    def __str__(self) -> str:
        return wrap_lines(self.text, terminal_columns())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        html = f'<div style="{FONT}; color: var(--jp-ui-font-color2)">{escape(self.text)}</div>' if self.text else ""
        return {"text/plain": str(self), "text/html": html}


class Hidden:
    """The number of log lines that the notebook leaves out, and the path of the complete log."""

    def __init__(self, count: int, path: Path, execution_id: str) -> None:
        self._count, self._path, self._id = count, path, execution_id

    def __str__(self) -> str:
        return f"▸ {count_label(self._count, 'line')} hidden. Complete log: {self._path}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        forms = Note(str(self))._repr_mimebundle_()
        return {**forms, RUN_MIME: {"execution_id": self._id, "hidden_lines": self._count}}


class Hints:
    """Hints for a failed run: a line each with the cause and the fix.

    The metadata contains the options that each hint adds to the line of the cell, for the button that applies the hint.
    """

    def __init__(self, notices: Sequence[Notice]) -> None:
        self._notices = notices

    def __str__(self) -> str:
        return wrap_lines(plain("\n".join(map(str, self._notices))), terminal_columns(), "  ")

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        lines = "".join(
            f"<div><strong>Hint:</strong> {link_addresses(plain(notice.text))}</div>" for notice in self._notices
        )
        html = f'<div role="note" style="{FONT}; {_MARKED}">{lines}</div>'
        options = [notice.option for notice in self._notices if notice.option]
        return {"text/plain": str(self), "text/html": html}, {HINTS_KEY: options} if options else {}


class Receipt:
    """The last output of a run in a notebook: the receipt, and hints below it.

    The style of our extension hides the element RECEIPT_CLASS, because the header above the log shows the receipt.
    """

    def __init__(self, line: StatusLine, hints: Hints | None) -> None:
        self._line = line
        self._hints = hints

    def __str__(self) -> str:
        return "\n".join(map(str, filter(None, [self._line, self._hints])))

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        forms, metadata = self._hints._repr_mimebundle_() if self._hints else ({}, {})
        html = f'<div class="{RECEIPT_CLASS}">{self._line._render_html()}</div>{forms.get("text/html", "")}'
        return {"text/plain": str(self), "text/html": html}, {**self._line.metadata, **metadata}


class Stderr:
    """The stderr output of a run, separate from its log: folded in HTML, counted in text."""

    def __init__(self, text: str) -> None:
        terminal = TerminalText()
        terminal.feed(text)
        self.lines = LineRedactor().lines([*terminal.take()[0], *terminal.end()])

    def __str__(self) -> str:
        return f"{self._summary} (the run's record has stdout and stderr separately)"

    @property
    def _summary(self) -> str:
        return f"{len(self.lines)} of these lines were printed to stderr"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        text = escape(COLOUR.sub("", "\n".join(self.lines[-STDERR_LINES:])))
        html = (
            f'<details style="{FONT}; color: var(--jp-ui-font-color2)"><summary>{self._summary}</summary>'
            f'<pre style="background: transparent">{text}</pre></details>'
        )
        return {"text/plain": str(self), "text/html": html}


class Text:
    """Lines with their terminal colors."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = LineRedactor().lines(lines)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self)}


class Redacted:
    """A wrapper that shows another object's output without secrets."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __repr__(self) -> str:
        return redact(str(self._content))

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = self._content._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return redact_bundle(data), metadata


def has_kernel(shell: InteractiveShell) -> bool:
    """Return whether a kernel executes the shell, not a terminal."""
    return getattr(shell, "kernel", None) is not None


def has_updates(shell: InteractiveShell) -> bool:
    """Return whether the front end that sent this cell replaces outputs. Call it in the thread of the cell."""
    return has_kernel(shell) and current_cell().has_updates


def show_updated(shell: InteractiveShell, content: object) -> Callable[[object], None]:
    """Show the content in a new output, and return a function that replaces the content in place.

    The function also works in a thread while another cell captures its own output.
    """
    publisher, formatter = shell.display_pub, cast("DisplayFormatter", shell.display_formatter)
    transient = {"display_id": uuid4().hex}

    def publish(content: object, *, update: bool = True) -> None:
        data, metadata = formatter.format(content)
        publisher.publish(data, metadata, transient=transient, update=update)

    publish(content, update=False)
    return publish


def write_text(text: str) -> None:
    """Write text to the output of the cell, and flush the output."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_error(text: str) -> None:
    """Write text to the error output of the cell, and flush the output."""
    sys.stderr.write(text)
    sys.stderr.flush()


def show_last(shell: InteractiveShell, content: object) -> None:
    """Show the content after the cell has ended, below any error of the cell."""
    after_cell(shell, lambda: display(content))


def after_cell(shell: InteractiveShell, act: Callable[[], object]) -> None:
    """Call a function after the cell has ended, below any error of the cell."""

    def call() -> None:
        shell.events.unregister("post_execute", call)
        act()

    shell.events.register("post_execute", call)


class TerminalBlock:
    """Lines of a terminal that are replaced in place, at most once per second."""

    def __init__(self) -> None:
        self._height = 0
        self._text = ""
        self._time = -math.inf

    @staticmethod
    def fits(shell: InteractiveShell) -> bool:
        """Return whether the output of the shell is a terminal that moves its cursor."""
        return not has_kernel(shell) and terminal_columns() is not None and os.environ.get("TERM") != "dumb"

    def draw(self, content: object) -> None:
        """Replace the lines by the text of the content, without secrets."""
        if time.monotonic() - self._time < PACE or (text := redact(str(content))) == self._text:
            return
        columns, rows = shutil.get_terminal_size()
        lines = [shorten_text(line, columns) for line in text.splitlines()]
        if len(lines) >= rows:  # the cursor can't move above the first row
            lines = [*lines[: rows - 2], f"… and {len(lines) - rows + 2} more lines"]
        self.clear()
        write_text("".join(f"{line}\n" for line in lines))
        self._height, self._text, self._time = len(lines), text, time.monotonic()

    def clear(self) -> None:
        """Remove the lines."""
        if self._height:
            write_text(f"\x1b[{self._height}F\x1b[J")
        self._height, self._text = 0, ""


class LiveOutput:
    """An output that is updated in place, at most every ``pace`` seconds; by default once per second of the wall clock.

    Create it in the thread of the cell: the front end that sent the cell decides whether updates are possible. Where
    they aren't, as in a terminal, only content that is shown with ``now`` appears, each in a new output; ``passing``
    content, which later content replaces, appears in a terminal but in no notebook that keeps all outputs.
    """

    def __init__(self, shell: InteractiveShell, pace: float = PACE) -> None:
        self.pace = pace
        self.in_place = has_updates(shell)
        self.is_on_page = self.in_place and current_cell().is_on_page
        self.appends = not self.in_place and has_kernel(shell)
        self._shell = shell
        self._update: Callable[[object], None] | None = None
        self._receipt: Callable[[object], object] = display
        self._last_identity: str | None = None
        self._content: object = None
        self._last_time = -math.inf
        self._remarked: set[str] = set()
        self._line_due_at: float | None = None  # of the next line about the progress of a step

    def show(self, content: object, *, now: bool = False, passing: bool = False) -> None:
        """Replace the content of the output; content that arrives too soon is skipped, unless ``now``."""
        moment = time.monotonic()
        identity = self._identify_content(content)
        if identity == self._last_identity or not (now or self.is_due) or (passing and self.appends):
            return
        if isinstance(content, StatusLine) and not self.in_place:
            content.leave_out(self._remarked)
        self._content = content if isinstance(content, StatusLine) else Redacted(content)
        if self._update is None or not self.in_place:
            self._update = show_updated(self._shell, self._content)
        else:
            self._update(self._content)
        self._last_identity, self._last_time = identity, moment - (time.time() % 1 if self.pace == PACE else 0)

    def show_progress(self, content: object) -> None:
        """Show the progress of a step: in place, or as a new line each 10 s where outputs never change.

        A step that ends within 5 s adds no line there.
        """
        if self.in_place:
            self.show(content, passing=True)
            return
        if self._line_due_at is None:
            self._line_due_at = time.monotonic() + _FIRST_LINE_SECONDS
        elif time.monotonic() >= self._line_due_at:
            self._line_due_at = time.monotonic() + _LINE_SECONDS
            self.show(content, now=True)

    def show_again(self) -> None:
        """Show the content as a new output, after its output was cleared."""
        if self._content is not None:
            self._update = show_updated(self._shell, self._content)

    def _identify_content(self, content: object) -> str | None:
        """Return the identity of content: the text, with the revision where the text isn't enough."""
        text = str(content)
        if not text and not self.in_place:
            return self._last_identity  # an empty line
        return f"{getattr(content, 'revision', '')} {text}"

    @property
    def is_due(self) -> bool:
        """Whether content that is shown at this moment appears without ``now`` too."""
        return self.in_place and time.monotonic() - self._last_time >= self.pace

    @property
    def is_visible(self) -> bool:
        """Whether any content was shown."""
        return self._last_identity is not None

    def close(self, line: StatusLine, hints: Hints | None = None, *, raises: bool = False) -> None:
        """Show the end of a run, with hints: in a notebook, the receipt is the last output of the cell.

        ``raises`` is whether an error of the cell follows.
        """
        show_receipt: Callable[[], object]
        if self.is_on_page:
            self.show(line.heading(), now=True)
            show_receipt = partial(self._receipt, Redacted(Receipt(line, hints)))
        else:
            show_receipt = partial(self.show, line, now=True)
        is_last = raises and (self.appends or self.is_on_page)
        after_cell(self._shell, show_receipt) if is_last else show_receipt()
        if hints and not self.is_on_page:
            show_last(self._shell, Redacted(hints))

    def reserve_receipt(self) -> None:
        """Create the output of the receipt now, empty, for a run that outlives its cell."""
        if self.is_on_page:
            self._receipt = show_updated(self._shell, Note(""))

    def settle(self, content: object) -> None:
        """Replace the content permanently, unless the output would only repeat text (in a terminal)."""
        if self.in_place:
            self.show(content, now=True)
