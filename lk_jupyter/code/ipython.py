"""IPython's own syntax (``!ls``, ``%timeit f()``, ``await`` at the top) as Python that a run understands."""

from __future__ import annotations

import ast
import re
import tokenize
from functools import cache, lru_cache
from io import StringIO
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import SHIPPED

_CALLS = {"run_line_magic": "%", "run_cell_magic": "%%"}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT}


def replace_ipython_syntax(code: str) -> str:
    """Return code with IPython's syntax replaced by calls of ``get_ipython()``, each line in its place."""
    if not re.search(r"[!%?]|^[^\S\n]*(>>>|In \[)", code, re.MULTILINE):
        return code
    lines = code.splitlines(keepends=True)
    empty = next((at for at, line in enumerate(lines) if line.strip()), 0)
    python: str = _create_manager().transform_cell("".join(lines[empty:]))
    return "\n" * empty + _replace_inner_syntax(python)


#: Magics whose lines below are code of the notebook, which may have IPython's syntax too.
_CODE_MAGICS = {"time", "timeit", "capture", "prun"}


def _replace_inner_syntax(python: str) -> str:
    """Replace IPython's syntax in the lines below a magic such as ``%%time`` too."""
    if not python.startswith("get_ipython().run_cell_magic("):
        return python
    magic, line, below = (ast.literal_eval(argument) for argument in ast.parse(python).body[0].value.args)  # type: ignore[attr-defined]
    if magic not in _CODE_MAGICS:
        return python
    return f"get_ipython().run_cell_magic({magic!r}, {line!r}, {replace_ipython_syntax(below)!r})\n"


@cache
def _create_manager() -> Any:
    from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 (for code that has such lines)

    class SameLines(TransformerManager):
        """Keep the number of lines where several lines become a single line."""

        def do_one_token_transform(self, lines: list[str]) -> tuple[bool, list[str]]:
            changed, new = super().do_one_token_transform(lines)  # type: ignore[no-untyped-call]
            missing = len(lines) - len(new)
            if changed and missing > 0:
                at = next(at for at, line in enumerate(new) if line != lines[at])
                new[at + 1 : at + 1] = ["\n"] * missing
            return changed, new

    return SameLines()  # type: ignore[no-untyped-call]


@lru_cache(maxsize=8)  # a fan-out calls this for each run
def shows_last(code: str) -> bool:
    """Return whether the value of a last expression is shown: not if a semicolon follows."""
    try:
        tokens = [token for token in tokenize.generate_tokens(StringIO(code).readline) if token.type not in _NO_CODE]
    except (tokenize.TokenError, SyntaxError):
        return True
    return not tokens or tokens[-1].string != ";"


#: Magics that need the notebook: history, last error, editor.
_NOTEBOOK_MAGICS = {
    "history", "hist", "macro", "recall", "rep", "rerun", "save", "notebook", "logstart", "store",
    "tb", "debug", "edit", "ed", "autosave", "connect_info", "qtconsole", "less", "more", "man", "clear",
}  # fmt: skip

#: Magics that IPython uses for ``name?`` and ``name??``.
_HELP = {"pinfo", "pinfo2", "psearch"}


@lru_cache(maxsize=8)  # a fan-out calls this for each run
def check_magics(tree: ast.Module, first_line: int, *, has_ipython: bool) -> None:
    """Refuse magics that a run doesn't have. Raises UsageError with a fix."""
    for line, sign, name in _list_magic_calls(tree):
        where = f"line {line + first_line - 1}: {sign}{name}"
        if name.startswith("lk_"):
            raise UsageError(
                f"{where} works only in the notebook, not in a run. Nothing was sent. Put the magic in a separate cell."
            )
        if name.startswith("%"):
            raise UsageError(f"{where} must be the first line of the cell, right below %%lk_run. Nothing was sent.")
        if name in _NOTEBOOK_MAGICS:
            raise UsageError(
                f"{where} works only in the notebook's kernel. Nothing was sent. Use it in a cell without %%lk_run."
            )
        if name in _HELP and not has_ipython:
            raise UsageError(
                f"{where.partition(':')[0]}: a run can't show help. Nothing was sent. Use a separate cell without "
                "%%lk_run."
            )
        if name not in _list_supported_magics(sign) and not has_ipython:
            raise UsageError(
                f"{where} doesn't work in a run. Nothing was sent. These magics work in a run: "
                f"{', '.join(sorted(_list_supported_magics(sign)))}. Write plain Python, or install IPython's magics "
                "with -r ipython."
            )


def _list_magic_calls(tree: ast.Module) -> list[tuple[int, str, str]]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [
        (call.lineno, _CALLS[call.func.attr], call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in _CALLS
        and isinstance(call.func.value, ast.Call)
        and isinstance(call.func.value.func, ast.Name)
        and call.func.value.func.id == "get_ipython"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    ]


@cache
def _list_supported_magics(sign: str) -> frozenset[str]:
    """Return the magics that ``remote/display/magics.py`` has."""
    kind = {"%": "line", "%%": "cell"}[sign]
    text = (SHIPPED / "display" / "magics.py").read_text(encoding="utf-8")
    return frozenset(re.findall(rf"\b{kind}_(\w+)(?=\(self|[\w, ]* = )", text))
