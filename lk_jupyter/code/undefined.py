"""Find names that a cell certainly reads and that nothing has set: the run would fail with a NameError."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Container, Iterator
from contextlib import suppress

from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.syntax import parse

#: Calls after which a name may be set in ways that the text doesn't show, or after which no statement is executed.
_UNPREDICTABLE = {
    "exec",
    "eval",
    "globals",
    "locals",
    "vars",
    "get_ipython",
    "exit",
    "quit",
    "_exit",
    "abort",
    "setattr",
}

#: Names that a run has besides the builtins.
_IN_RUNS = {"get_ipython", "display", "exit", "quit", "In", "Out"}


def undefined_names(code: str, namespace: Container[str]) -> list[str]:
    """Return the names that the code certainly reads before assignment, and that the namespace doesn't have.

    Only statements that are always executed count, up to the first statement that may set names invisibly.
    """
    with suppress(SyntaxError):
        return list(dict.fromkeys(_iterate_undefined_names(parse(replace_ipython_syntax(code)), namespace)))
    return []


def _iterate_undefined_names(tree: ast.Module, namespace: Container[str]) -> Iterator[str]:
    assigned: set[str] = set()
    for statement in tree.body:
        if _is_unpredictable(statement):
            return
        for name in _iterate_reads(statement):
            if name not in assigned and name not in namespace and not _is_in_runs(name):
                yield name
        assigned |= _list_assigned_names(statement)


def _is_in_runs(name: str) -> bool:
    return hasattr(builtins, name) or name in _IN_RUNS or name.startswith(("_", "lk_"))


def _is_unpredictable(statement: ast.stmt) -> bool:
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _UNPREDICTABLE:
            return True
        if isinstance(node, (ast.Name, ast.Attribute)) and getattr(node, "attr", getattr(node, "id", "")) == "exit":
            return True
    return False


def _list_assigned_names(statement: ast.stmt) -> set[str]:
    """Return every name that a statement may set, also in branches and functions."""
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        elif isinstance(node, ast.Global):
            names |= set(node.names)
    return names


def _iterate_reads(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement always reads, except names that the statement sets."""
    parts: list[ast.AST | None]
    if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)):
        parts = [statement.value]
    elif isinstance(statement, ast.AugAssign):
        if isinstance(statement.target, ast.Name):
            yield statement.target.id
        parts = [statement.value]
    elif isinstance(statement, (ast.If, ast.While, ast.Assert)):
        parts = [statement.test]
    elif isinstance(statement, (ast.For, ast.AsyncFor)):
        parts = [statement.iter]
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        parts = [*statement.decorator_list, *statement.args.defaults]
    elif isinstance(statement, ast.ClassDef):
        parts = [*statement.decorator_list, *statement.bases]
    else:
        parts = []
    walrus = {node.target.id for node in ast.walk(statement) if isinstance(node, ast.NamedExpr)}
    yield from (
        name for part in parts if part is not None for name in _iterate_evaluated_names(part) if name not in walrus
    )


def _iterate_evaluated_names(node: ast.AST) -> Iterator[str]:
    """Yield the names in the parts of an expression that are always evaluated."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id
        return
    yield from (name for child in _list_evaluated_parts(node) for name in _iterate_evaluated_names(child))


def _list_evaluated_parts(node: ast.AST) -> list[ast.AST]:
    """Return the parts of an expression that are evaluated whenever the expression is."""
    if isinstance(node, ast.Lambda):
        return [*node.args.defaults]
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return [node.generators[0].iter]
    if isinstance(node, ast.BoolOp):
        return node.values[:1]  # type: ignore[return-value]
    if isinstance(node, ast.IfExp):
        return [node.test]
    if isinstance(node, ast.Compare):
        return [node.left, node.comparators[0]]
    return list(ast.iter_child_nodes(node))
