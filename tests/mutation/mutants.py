"""Makes mutants of a source file: each differs from it in one place, as a slip of a programmer would."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
_ARITHMETIC = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitOr: (r"\|", "&"),
    ast.BitAnd: ("&", "|"),
}
#: Conditions that are changed in themselves.
_CHANGED_INSIDE = (ast.Compare, ast.BoolOp, ast.UnaryOp)
#: What only explains; no behaviour depends on these words.
_PROSE = {"description", "help", "title", "summary", "examples"}


@dataclass(frozen=True)
class Mutant:
    """A change of a file: ``new`` in place of the characters from ``start`` to ``end``."""

    kind: str
    line: int
    start: int
    end: int
    new: str

    def apply(self, source: str) -> str:
        """Return the changed source."""
        return source[: self.start] + self.new + source[self.end :]


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a source, in the order of their lines."""
    return sorted(set(_Finder(source).all()), key=lambda mutant: (mutant.line, mutant.start, mutant.kind))


def compiles(source: str) -> bool:
    """Return whether a mutant is one of the language."""
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


class _Finder:
    """Walks through a source and leaves out prose, annotations and what only type checkers read."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = source.splitlines(keepends=True)

    def all(self) -> Iterator[Mutant]:
        yield from self._below(ast.parse(self._source))

    def _below(self, node: ast.AST) -> Iterator[Mutant]:
        yield from self._of(node)
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_prose(node, child):
                    yield from self._below(child)

    def _of(self, node: ast.AST) -> Iterator[Mutant]:  # noqa: C901, PLR0912 (a table of kinds)
        match node:
            case ast.Compare():
                right = node.comparators[0]
                yield from self._operator("comparison", node.left, right, *_COMPARISONS[type(node.ops[0])])
            case ast.BoolOp():
                words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                yield from self._operator("and/or", node.values[0], node.values[1], *words)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                yield from self._operator("arithmetic", node.left, node.right, *_ARITHMETIC[type(node.op)])
            case ast.UnaryOp(op=ast.Not()):
                yield self._replace("not", node, f"bool({self._text(node.operand)})")
            case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, _CHANGED_INSIDE):
                yield self._replace("condition", node.test, f"(not ({self._text(node.test)}))")
            case ast.Constant(value=bool()):
                yield self._replace("constant", node, str(not node.value))
            case ast.Constant(value=int() | float()):
                yield self._replace("constant", node, f"{node.value + 1}")
            case ast.Constant(value=str()):
                yield self._replace("constant", node, repr(f"{node.value}XX"))
            case ast.Return() if node.value is not None and not _is_none(node.value):
                yield self._replace("return", node, "return None")
            case ast.Expr(value=ast.Call() | ast.Await()):
                yield self._replace("call left out", node, "pass")
            case ast.Raise():
                yield self._replace("raise left out", node, "pass")
            case ast.Assign() | ast.AnnAssign() if node.value is not None and not _is_none(node.value):
                yield self._replace("assignment", node.value, "None")
            case ast.AugAssign():
                yield self._replace("assignment left out", node, "pass")
            case ast.Continue():
                yield self._replace("loop", node, "break")
            case ast.Break():
                yield self._replace("loop", node, "continue")

    def _operator(self, kind: str, left: ast.expr, right: ast.expr, pattern: str, new: str) -> Iterator[Mutant]:
        start, end = self._at(left.end_lineno, left.end_col_offset), self._at(right.lineno, right.col_offset)
        word = rf"\b{pattern}\b" if pattern[0].isalpha() else pattern
        found = re.search(word, self._source[start:end])
        if found:
            yield Mutant(kind, left.end_lineno or 0, start + found.start(), start + found.end(), new)

    def _replace(self, kind: str, node: ast.expr | ast.stmt, new: str) -> Mutant:
        end = self._at(node.end_lineno, node.end_col_offset)
        return Mutant(kind, node.lineno, self._at(node.lineno, node.col_offset), end, new)

    def _text(self, node: ast.expr) -> str:
        return ast.get_source_segment(self._source, node) or ""

    def _at(self, line: int | None, column: int | None) -> int:
        """Return the place of a line and a column, which Python counts in bytes."""
        row = (line or 1) - 1
        return self._starts[row] + len(self._lines[row].encode()[: column or 0].decode())


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_prose(parent: ast.AST, child: ast.AST) -> bool:
    """Return whether a part of a node only explains, or is read by type checkers alone."""
    match parent, child:
        case (ast.Expr(), ast.Constant(value=str())) | (ast.Raise(), ast.Call()) | (ast.JoinedStr(), ast.Constant()):
            return True
        case ast.Module() | ast.ClassDef(), ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(), ast.keyword(arg=name):
            return name in _PROSE
        case ast.Assign(targets=[ast.Name(id="__all__")]), _:
            return True
    return False
