"""An error as IPython shows it: the lines around each place, an arrow, colours."""

from __future__ import annotations

import linecache
import os
from itertools import islice

from . import run as driver

_FOLDER = os.path.join(os.path.abspath(os.path.join(__file__, "..", "..")), "")

AROUND = 2
WIDTH = 75
LONGEST = 40

_RED, _GREEN, _BLUE, _BOLD, _OFF = "\x1b[31m", "\x1b[32m", "\x1b[34m", "\x1b[1m", "\x1b[0m"
_MARKED = "\x1b[30;43m"
_BETWEEN = {
    "cause": "The above exception was the direct cause of the following exception:",
    "context": "During handling of the above exception, another exception occurred:",
}


def show_error(error, shown):
    """Send the error as a notebook shows it, and print it as Python does for all who read only text.

    The notebook takes the text of the frame out of what is printed.
    """
    import traceback

    text = "".join(traceback.format_exception(type(error), error, shown))
    err = driver.errors()
    text = text.encode(err.encoding, err.errors).decode(err.encoding)
    driver.frame("error", {"text": text, "traceback": lines_of(error, shown)}, err)
    err.write(text)


def show_survived(error, lines=None):
    """Send an error that does not end the code, where it comes; all who read only text have it as text of stderr."""
    import traceback

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    lines = lines or lines_of(error, error.__traceback__)
    driver.ordered_errors.flush()
    driver.ordered_errors.send(text, {"ename": type(error).__name__, "evalue": _said(error), "traceback": lines})


def lines_of(error, shown):
    """Return the lines of an error with all that led to it; ``shown`` is its traceback."""
    lines = []
    for link, how in _chain(error):
        head = type(link).__name__
        space = " " * max(1, WIDTH - len(head) - len("Traceback (most recent call last)"))
        lines += ["", _BETWEEN[how], ""] if how else []
        lines += [_RED + "-" * WIDTH + _OFF, _RED + head + _OFF + space + "Traceback (most recent call last)"]
        lines += _places(shown if link is error else link.__traceback__)
        lines += _last(link)
        for number, inner in enumerate(getattr(link, "exceptions", ()), 1):
            lines += [
                "",
                "  {}. of these:".format(number),
                *("  " + line for line in lines_of(inner, inner.__traceback__)),
            ]
    return lines


def _chain(error):
    """Return the errors, the first one first, each with how the next one came of it."""
    chain, how, seen = [], "", set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        chain.append((error, how))
        if error.__cause__ is not None:
            error, how = error.__cause__, "cause"
        else:
            error, how = (None if error.__suppress_context__ else error.__context__), "context"
    ways = [""] + [how for _, how in reversed(chain[1:])]
    return list(zip([error for error, _ in reversed(chain)], ways))


def _places(shown):
    places = []
    while shown:
        if not _is_ours(shown.tb_frame.f_code):
            places.append((shown.tb_frame.f_code, shown.tb_lineno, shown.tb_lasti))
        shown = shown.tb_next
    if len(places) > LONGEST:
        left_out = len(places) - LONGEST
        middle = ["", "    … {} more places …".format(left_out), ""]
        first, last = places[: LONGEST // 2], places[-LONGEST // 2 :]
        return _all(first) + middle + _all(last)
    return _all(places)


def _is_ours(code):
    return code.co_filename.startswith(_FOLDER)


def _all(places):
    return [line for place in places for line in _place(*place)]


def _place(code, number, instruction):
    own = code.co_filename == driver._file
    name = os.path.basename(code.co_filename) if own else code.co_filename
    names = ", ".join(code.co_varnames[: code.co_argcount])
    function = "" if code.co_name == "<module>" else ", in {}{}{}({})".format(_BLUE, code.co_name, _OFF, names)
    head = "File {}{}:{}{}{}".format(_GREEN, name, number, _OFF, function)
    source = driver._source.splitlines() if own and driver._source else linecache.getlines(code.co_filename)
    first = max(1, number - AROUND)
    span = _span(code, number, instruction)
    near = range(first, min(len(source), number + AROUND) + 1)
    return [
        head,
        *(
            _line(source[at - 1].rstrip("\n"), at, span if at == number else None)
            for at in near
            if _is_theirs(source, at, own)
        ),
        "",
    ]


def _is_theirs(source, at, own):
    """Leave out the empty lines that stand for the magic's own line."""
    return not own or any(line.strip() for line in source[:at])


def _span(code, number, instruction):
    """Return the place of the failed expression in its line, in bytes; needs Python 3.11 or later."""
    if not hasattr(code, "co_positions"):
        return 0, 0
    first, last, start, end = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    return (start, end) if first == last == number and start is not None else (0, 0)


def _line(text, at, span):
    if span:
        arrow = "-" * max(1, 5 - len(str(at))) + "> " + str(at)
        raw = text.encode()
        start, end = span
        before, failed, after = (part.decode(errors="replace") for part in (raw[:start], raw[start:end], raw[end:]))
        failed = _MARKED + failed + _OFF + _BOLD if failed and (before + after).strip() else failed
        return "{}{}{} {}{}{}{}{}".format(_GREEN, arrow, _OFF, _BOLD, before, failed, after, _OFF)
    return "{}{:>7}{} {}".format(_GREEN, at, _OFF, text)


def _last(error):
    """Return the error's own words."""
    if isinstance(error, SyntaxError):
        import traceback

        return [line for part in traceback.format_exception_only(type(error), error) for line in part.splitlines()]
    first, *rest = _said(error).splitlines() or [""]
    notes = [line for note in getattr(error, "__notes__", ()) for line in str(note).splitlines()]
    return ["{}{}{}: {}".format(_RED, type(error).__name__, _OFF, first), *rest, *notes]


def _said(error):
    try:
        return str(error)
    except Exception:
        return "<it cannot say what it is>"
