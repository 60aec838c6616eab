"""Formats an error as IPython does: the lines around each place, an arrow, colors."""

from __future__ import annotations

import linecache
import os
from itertools import islice

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Sequence
    from typing import Any

#: The folder in the file names of our code.
_FOLDER = (lambda: 0).__code__.co_filename[: -len("script/traceback.py")]

AROUND = 2
WIDTH = 75
LONGEST = 40

_RED, _GREEN, _BLUE, _BOLD, _OFF = "\x1b[31m", "\x1b[32m", "\x1b[34m", "\x1b[1m", "\x1b[0m"
_MARKED = "\x1b[30;43m"
_LINKS = {
    "cause": "The above exception was the direct cause of the following exception:",
    "context": "During handling of the above exception, another exception occurred:",
}


def show_error(error: BaseException, trace: types.TracebackType | None) -> None:
    """Send the error as a notebook shows errors, and print the traceback for readers of plain text."""
    import traceback

    send_error("".join(traceback.format_exception(type(error), error, trace)), error_lines(error, trace))


def send_error(text: str, lines: list[str]) -> None:
    """Send the lines of an error, and print its text, which the notebook removes from the printed text."""
    err = driver.real_stderr()
    text = text.encode(err.encoding, err.errors).decode(err.encoding)
    driver.frame("error", {"text": text, "traceback": lines}, err)
    err.write(text)


def show_survived(error: BaseException, lines: list[str] | None = None) -> None:
    """Send an error that does not end the code, in the order of outputs; plain text is sent to stderr."""
    import traceback

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    lines = lines or error_lines(error, error.__traceback__)
    driver.ordered_errors.flush()
    driver.ordered_errors.send(
        text, {"ename": type(error).__name__, "evalue": _format_error(error), "traceback": lines}
    )


def error_lines(error: BaseException, trace: types.TracebackType | None) -> list[str]:
    """Return the lines of an error and of its causes; ``trace`` is the traceback."""
    lines = []
    for link, how in _list_error_chain(error):
        head = type(link).__name__
        space = " " * max(1, WIDTH - len(head) - len("Traceback (most recent call last)"))
        lines += ["", _LINKS[how], ""] if how else []
        lines += [_RED + "-" * WIDTH + _OFF, _RED + head + _OFF + space + "Traceback (most recent call last)"]
        lines += _format_trace(trace if link is error else link.__traceback__)
        lines += _format_message(link)
        for number, inner in enumerate(getattr(link, "exceptions", ()), 1):
            lines += [
                "",
                "  {}. of these:".format(number),
                *("  " + line for line in error_lines(inner, inner.__traceback__)),
            ]
    return lines


def _list_error_chain(error: BaseException | None) -> list[tuple[BaseException, str]]:
    """Return the chain of errors, the first error first, each with the link to the next error."""
    chain: list[tuple[BaseException, str]] = []
    how, visited = "", set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        chain.append((error, how))
        if error.__cause__ is not None:
            error, how = error.__cause__, "cause"
        else:
            error, how = (None if error.__suppress_context__ else error.__context__), "context"
    ways = [""] + [how for _, how in reversed(chain[1:])]
    return list(zip([error for error, _ in reversed(chain)], ways))


def _format_trace(trace: types.TracebackType | None) -> list[str]:
    places = []
    while trace:
        if not _is_internal(trace.tb_frame.f_code):
            places.append((trace.tb_frame.f_code, trace.tb_lineno, trace.tb_lasti))
        trace = trace.tb_next
    if len(places) > LONGEST:
        omitted = len(places) - LONGEST
        middle = ["", "    … {} more places …".format(omitted), ""]
        first, last = places[: LONGEST // 2], places[-LONGEST // 2 :]
        return _format_places(first) + middle + _format_places(last)
    return _format_places(places)


def _is_internal(code: types.CodeType) -> bool:
    return code.co_filename.startswith(_FOLDER)


def _format_places(places: Iterable[tuple[types.CodeType, int, int]]) -> list[str]:
    return [line for place in places for line in _describe_place(*place)]


def _describe_place(code: types.CodeType, number: int, instruction: int) -> list[str]:
    is_author_file = code.co_filename == driver._file
    name = os.path.basename(code.co_filename) if is_author_file else code.co_filename
    names = ", ".join(code.co_varnames[: code.co_argcount])
    function = "" if code.co_name == "<module>" else ", in {}{}{}({})".format(_BLUE, code.co_name, _OFF, names)
    head = "File {}{}:{}{}{}".format(_GREEN, name, number, _OFF, function)
    source = driver._source.splitlines() if is_author_file and driver._source else linecache.getlines(code.co_filename)
    first = max(1, number - AROUND)
    span = _find_failed_columns(code, number, instruction)
    near = range(first, min(len(source), number + AROUND) + 1)
    return [
        head,
        *(
            _format_line(source[at - 1].rstrip("\n"), at, span if at == number else None)
            for at in near
            if _is_in_cell(source, at, is_author_file)
        ),
        "",
    ]


def _is_in_cell(source: Sequence[str], at: int, is_author_file: bool) -> bool:
    """Return whether to show a line: the magic's line is replaced by empty lines, which are omitted."""
    return not is_author_file or any(line.strip() for line in source[:at])


def _find_failed_columns(code: Any, number: int, instruction: int) -> tuple[int, int]:
    """Return the position of the failed expression in the line, in bytes; needs Python 3.11 or later."""
    if not hasattr(code, "co_positions"):
        return 0, 0
    first, last, start, end = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    return (start, end) if first == last == number and start is not None and end is not None else (0, 0)


def _format_line(text: str, at: int, span: tuple[int, int] | None) -> str:
    if span:
        arrow = "-" * max(1, 5 - len(str(at))) + "> " + str(at)
        raw = text.encode()
        start, end = span
        before, failed, after = (part.decode(errors="replace") for part in (raw[:start], raw[start:end], raw[end:]))
        failed = _MARKED + failed + _OFF + _BOLD if failed and (before + after).strip() else failed
        return "{}{}{} {}{}{}{}{}".format(_GREEN, arrow, _OFF, _BOLD, before, failed, after, _OFF)
    return "{}{:>7}{} {}".format(_GREEN, at, _OFF, text)


def _format_message(error: BaseException) -> list[str]:
    """Return the error's own words."""
    if isinstance(error, SyntaxError):
        import traceback

        return [line for part in traceback.format_exception_only(type(error), error) for line in part.splitlines()]
    first, *rest = _format_error(error).splitlines() or [""]
    notes = [line for note in getattr(error, "__notes__", ()) for line in str(note).splitlines()]
    return ["{}{}{}: {}".format(_RED, type(error).__name__, _OFF, first), *rest, *notes]


def _format_error(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<the object has no readable text>"
