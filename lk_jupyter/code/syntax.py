"""Syntax that a plain Python run can't understand, detected before anything is sent."""

from __future__ import annotations
import __future__

import ast
import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

from lk_jupyter.errors import UsageError

#: A cell may have such a line anywhere, as in IPython.
_FUTURE = re.compile(r"from __future__ import \w+(\s*,\s*\w+)*\s*(#.*)?$")

_SHELL_OR_MAGIC = re.compile(r"^\s*(?P<line>[!%]{1,2}\s*(?P<command>.+))$")

#: Replacements of IPython lines: the first row whose pattern matches.
_IN_PLACE = (
    (r"[!%]\s*(?:python -m )?(?:pip|uv pip|conda|mamba) install (?:-\S+ )*(?P<what>.+)", "%%lk_run -r {what}"),
    (r"%(?:time|timeit)\b.*", "time.perf_counter() before and after the code, or the timeit module"),
    (r"%matplotlib\b.*", 'plt.savefig("figure.png")'),
    (r"%cd\s+(?P<what>.+)", 'os.chdir("{what}")'),
    (r"%(?:env|set_env)\b.*", "os.environ"),
    (
        r"%(?:load_ext|reload_ext|autoreload)\b.*",
        "no replacement: delete the line, or run it in a cell without %%lk_run",
    ),
    (r"!\s*(?P<what>.+)", 'subprocess.run("{what}", shell=True, check=True)'),
    (r"%.*", "plain Python, or run the line in a cell without %%lk_run"),
)

_Read = TypeVar("_Read")


def future_features(values: Iterable[object]) -> list[Any]:
    """Return the features of ``__future__`` among values."""
    return [value for value in values if isinstance(value, type(__future__.annotations))]


def call_without_warnings(make_tree: Callable[[], _Read]) -> _Read:
    """Call a function that creates a tree of code.

    Python 3.11 sometimes raises SystemError while another thread creates a tree, for a traceback too.
    """
    for _ in range(9):
        with suppress(SystemError):
            return make_tree()
    return make_tree()


def parse(code: str | bytes, file_name: str = "<unknown>") -> ast.Module:
    """Return the syntax tree of code. Raises SyntaxError or ValueError."""
    return call_without_warnings(lambda: ast.parse(code, file_name))


@lru_cache(maxsize=8)  # a fan-out calls this for each run
def check_code(code: str, *, file_name: str, first_line: int = 1, awaits: bool = False) -> ast.Module:
    """Return the syntax tree of the code, or report its error.

    ``first_line`` is the number of the code's first line in the author's view, ``awaits`` whether the code may await
    outside of a function. Raises UsageError for an empty cell and for ``!`` and ``%`` lines, SyntaxError for any other
    error.
    """
    if not code.strip():
        raise UsageError("The cell is empty. Nothing was sent. Write the code below the first line.")
    try:
        tree = parse(code, file_name)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if awaits else 0
        lines = code if not awaits else "\n".join("" if _FUTURE.match(line) else line for line in code.split("\n"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # the run shows warnings
            call_without_warnings(lambda: compile(lines, file_name, "exec", flags, dont_inherit=True))
    except (SyntaxError, ValueError) as error:
        _refuse_ipython_lines(code, first_line)
        raise _move_lines(error, file_name, first_line) from None
    return tree


def _refuse_ipython_lines(code: str, first_line: int) -> None:
    ipython_lines = [
        f"line {number}: {match['line']}   →   {_suggest_replacement(match['line'])}"
        for number, text in enumerate(code.splitlines(), first_line)
        if (match := _SHELL_OR_MAGIC.match(text))
    ]
    if ipython_lines:
        listed = "\n  ".join(ipython_lines)
        raise UsageError(
            "The run is plain Python, so it cannot contain IPython lines (--rich allows them). Write instead:"
            f"\n  {listed}"
        )


def _suggest_replacement(line: str) -> str:
    for pattern, advice in _IN_PLACE:
        if match := re.fullmatch(pattern, line.strip()):
            return advice.format(**match.groupdict())
    return "plain Python"


def _move_lines(error: SyntaxError | ValueError, file_name: str, first_line: int) -> SyntaxError:
    """Return the error with the line numbers that the author sees."""
    if not isinstance(error, SyntaxError):
        return SyntaxError(str(error), (file_name, first_line, 1, ""))
    shift = first_line - 1
    end = error.end_lineno + shift if error.end_lineno else None
    details = (file_name, (error.lineno or 1) + shift, error.offset, error.text, end, error.end_offset)
    return type(error)(error.msg, details)
