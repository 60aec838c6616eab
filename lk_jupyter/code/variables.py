"""The variables that a cell needs: variables that the options list, or variables that the cell reads."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import symtable
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, ModuleType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.imports import imported_names
from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.syntax import parse
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions

if TYPE_CHECKING:
    from lk_jupyter.code.source import Source


def uploaded_variables(source: Source, options: RunOptions) -> dict[str, Any]:
    """Return the variables that a run brings along. Raises UsageError for a name that is not set."""
    names = named("in", options.inputs)
    return require_variables(dict.fromkeys([*names, *read_in(source)] if options.in_all else names), source.namespace)


def read_in(source: Source) -> list[str]:
    """Return the variables that the code reads; none for invalid code, whose error is reported with the request."""
    with suppress(SyntaxError):
        return [
            name for name in read_by(replace_ipython_syntax(source.code), source.namespace) if name not in source.values
        ]
    return []


def is_imported(value: Any) -> bool:
    """Return whether a value is a module, or a class or function of a module: no value of the notebook."""
    kind = type(value)  # the __class__ of a proxy may raise an error
    if issubclass(kind, _DEFINITIONS):
        return getattr(value, "__module__", "__main__") != "__main__"
    return issubclass(kind, ModuleType)


#: Types of classes, functions and methods.
_DEFINITIONS = (
    *(type, FunctionType, MethodType),
    *(BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType),
)


def named(option: str, texts: Iterable[str]) -> list[str]:
    """Return the variables that an option names, separated by commas or spaces, each once. Raises UsageError."""
    names = [unicodedata.normalize("NFKC", part.strip()) for text in texts for part in text.split(",")]
    for name in filter(None, names):
        if not name.isidentifier() or keyword.iskeyword(name):
            raise UsageError(
                f"--{option} takes variable names, for example df,model. '{name}' isn't a variable name. Nothing was "
                "sent."
            )
    return list(dict.fromkeys(filter(None, names)))


def require_variables(names: Iterable[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of these names. Raises UsageError for names that are not set."""
    missing = [name for name in names if name not in namespace]
    if missing:
        near = get_close_matches(missing[0], namespace, n=1)
        hint = f"Did you mean {near[0]}?" if near else "First run the cell that sets the variable."
        raise UsageError(f"--in: this notebook has no variable {' and '.join(missing)}. Nothing was sent. {hint}")
    return {name: namespace[name] for name in names}


def read_by(code: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return the variables of a namespace that the code reads before assignment, sorted by name.

    A builtin is included if the namespace has another value for the name.
    """
    top = _Flow()
    top.follow(parse(code).body)
    unset = top.read | _read_in_functions(symtable.symtable(code, "cell", "exec"))
    is_builtin = {name for name in vars(builtins).keys() - {"_"} if namespace.get(name) is getattr(builtins, name)}
    return sorted(name for name in unset if name in namespace and name not in is_builtin)


def assigned_names(code: str) -> list[str]:
    """Return the variables, functions and classes that the code sets for later cells, in order.

    Imports, names with an underscore in front, and targets of loops and ``with`` are not included, nor deleted names.
    """
    with suppress(SyntaxError):
        nodes = list(_iterate_top_level(parse(replace_ipython_syntax(code)).body))
        passing = {id(name) for node in nodes for target in _list_targets(node) for name in ast.walk(target)}
        deleted = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)}
        names = dict.fromkeys(name for node in nodes if id(node) not in passing for name in _set_by(node))
        return [name for name in names if name not in deleted and not name.startswith("_")]
    return []


def _set_by(node: ast.AST) -> list[str]:
    """Return the names that a node sets, also in the Python lines of a magic such as ``%%time``."""
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Store) else []
    if isinstance(node, ast.Call) and _is_shell(node.func):
        magic, *lines = [str(getattr(word, "value", "")) for word in node.args] or [""]
        return [name for line in lines if magic in _KEEPS for name in assigned_names(_FLAGS.sub("", line, count=1))]
    return [node.name] if isinstance(node, _SCOPES) else []


def _list_targets(node: ast.AST) -> list[ast.expr]:
    """Return the targets of a loop or of ``with``."""
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return [node.target]
    return [node.optional_vars] if isinstance(node, ast.withitem) and node.optional_vars else []


#: Nodes whose inner names aren't names of the module.
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_INNER = (*_SCOPES, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _iterate_top_level(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield nodes and their children in order, without the inside of functions, classes and comprehensions."""
    for node in nodes:
        yield node
        if not isinstance(node, _INNER):
            yield from _iterate_top_level(ast.iter_child_nodes(node))


#: Calls without arguments, and magics, that show every name.
_ALL_NAMES, _ALL_MAGICS = {"globals", "locals", "vars", "dir"}, {"who", "whos", "who_ls", "reset", "reset_selective"}

#: Attributes of the shell that contain every name.
_NAMESPACES = {"user_ns", "user_global_ns"}

#: Calls that look for tests in ``__main__``, and calls that run a text.
_TEST_MAGICS, _TEXT_MAGICS = (
    re.compile(r"(doctest\.)?testmod|unittest\.main"),
    {"eval", "exec", "run", "runctx", "timeit", "Timer"},
)


def reads_all(code: str) -> bool:
    """Return whether the code looks at all names, such as by ``globals()`` or in ``__main__``."""
    with suppress(SyntaxError):
        tree = parse(replace_ipython_syntax(code))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        magics = (getattr(call.args[0], "value", "") for call in calls if _is_shell(call.func) and call.args)
        plain = (getattr(call.func, "id", "") in _ALL_NAMES and not call.args for call in calls)
        tests = (_TEST_MAGICS.fullmatch(ast.unparse(call.func)) for call in calls)
        return (
            "__main__" in imported_names(tree)
            or any(plain)
            or any(tests)
            or any(magic in _ALL_MAGICS for magic in magics)
            or any(isinstance(node, ast.Attribute) and node.attr in _NAMESPACES for node in ast.walk(tree))
        )
    return False


def commands_in(tree: ast.Module) -> list[str]:
    """Return the texts that the code passes to the shell and to magics, if they have a single line."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_shell(node.func)]
    texts = [argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and "\n" not in text]


def _read_in_functions(table: symtable.SymbolTable) -> set[str]:
    """Return the global names that functions and classes read and that nothing sets at the top."""
    assigned = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    read: set[str] = set()
    waiting = list(table.get_children())
    while waiting:
        inner = waiting.pop()
        waiting += inner.get_children()
        read |= {
            symbol.get_name()
            for symbol in inner.get_symbols()
            if symbol.is_global() and (symbol.is_referenced() or symbol.is_declared_global())
        }
    return read - assigned


#: Magics whose text is Python; the names that the lines below ``%%time`` set stay set.
_TIMED = {"time", "timeit", "prun", "memit", "mprun", "lprun", "capture"}
_KEEPS = {"time", "capture", "prun", "memit"}
_FLAGS = re.compile(r"\s*(?:-[A-Za-z]+(?:\s*\d+)?\s+)*")

#: Where a line of the shell or of a magic takes a value: ``{expression}`` or ``$name``.
_EXPANDED = re.compile(r"\{([^{}\n]+)\}|(?<!\$)\$([A-Za-z_]\w*)")

#: Magics whose line is the name of an object, such as ``name?``.
_NAME_MAGICS = [["pinfo"], ["pinfo2"], ["pdoc"], ["pdef"], ["psource"], ["pfile"], ["xdel"]]

#: Names in a query of pandas (``@x``), and in a formula (``y ~ np.log(x)``).
_IN_QUERY, _IN_FORMULA = re.compile(r"@([^\W\d]\w*)"), re.compile(r"[^\W\d]\w*")

#: Calls with SQL, in which a data frame is a table; and the tables of a query.
_SQL_MAGICS = {"sql", "query", "execute", "sqldf"}
_IN_SQL = re.compile(r"\b(?:from|join)\s+(\w+(?:\s*,\s*\w+)*)", re.IGNORECASE)


def _read_in_text(call: ast.Call) -> Iterator[str]:
    """Yield the names that the text in a call reads: of queries, SQL, formulas, ``eval`` and lines of the shell."""
    function = getattr(call.func, "attr", getattr(call.func, "id", ""))
    values = [*call.args, *(word.value for word in call.keywords)]
    texts = [
        node.value
        for value in values
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    if function in {"query", "eval"}:
        yield from (name for text in texts for name in _IN_QUERY.findall(text))
    if function in _SQL_MAGICS:
        tables = [match for text in texts for match in _IN_SQL.findall(text)]
        yield from (name for match in tables for name in re.findall(r"\w+", match))
    if function in _TEXT_MAGICS:
        yield from (name for text in texts for name in _list_names(text))
    if function in {"system", "getoutput", "run_line_magic", "run_cell_magic"} and _is_shell(call.func):
        expansions = [match for text in texts for match in _EXPANDED.findall(text)]
        yield from (
            name for expression, plain in expansions for name in ([plain] if plain else _list_names(expression))
        )
        if texts[:1] in _NAME_MAGICS:
            yield from (text.partition(".")[0].strip() for text in texts[1:])
    yield from (name for text in texts if "~" in text for name in _IN_FORMULA.findall(text))


def _list_names(expression: str) -> list[str]:
    with suppress(SyntaxError):
        return list(_iterate_reads(parse(expression.strip())))
    return []


def _is_shell(function: ast.AST) -> bool:
    """Whether this is a method of ``get_ipython()``."""
    owner = getattr(function, "value", None)
    return isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "get_ipython"


class _Flow:
    """Follow statements in order: ``read`` are the names that were read before assignment.

    A loop counts as executed at least once, a ``try`` as completed; of two branches, only names that both branches set
    count as set.
    """

    def __init__(self, names: Iterable[str] = (), read: set[str] | None = None) -> None:
        self.set = set(names)
        self.read: set[str] = set() if read is None else read

    def follow(self, body: Iterable[ast.stmt]) -> _Flow:
        """Go through statements; return this flow."""
        for statement in body:
            step = getattr(self, f"_{type(statement).__name__.lower()}", self._plain)
            step(statement)
        return self

    def _follow_branch(self, body: Iterable[ast.stmt]) -> set[str]:
        return _Flow(self.set, self.read).follow(body).set

    def _add_reads(self, *nodes: ast.AST | None) -> None:
        """Record the names that expressions read, then the names that expressions set."""
        for node in filter(None, nodes):
            stored = {name.id for name in ast.walk(node) if isinstance(name, ast.NamedExpr) for name in [name.target]}
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
            in_text = {name for call in calls for name in _read_in_text(call)}
            self.read |= (set(_iterate_reads(node)) | in_text) - self.set - stored
            self.set |= stored
            for call in calls:
                self._follow_magic(call)

    def _follow_magic(self, call: ast.Call) -> None:
        """Follow the Python code in the line of a magic, or below the line."""
        words = [getattr(word, "value", None) for word in call.args]
        if not (words and words[0] in _TIMED and _is_shell(call.func)):
            return
        name, *lines = words
        if name == "capture":
            self.set |= {word for word in str(lines.pop(0)).split() if word.isidentifier()}
        inner = self if name in _KEEPS else _Flow(self.set, self.read)
        for line in lines:
            with suppress(SyntaxError):
                inner.follow(parse(replace_ipython_syntax(str(line)[_FLAGS.match(str(line)).end() :])).body)  # type: ignore[union-attr]

    def _store_targets(self, *targets: ast.AST | None) -> None:
        for target in filter(None, targets):
            self._add_reads(target)
            self.set |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

    def _plain(self, statement: ast.stmt) -> None:
        self._add_reads(statement)

    def _assign(self, statement: ast.Assign) -> None:
        self._add_reads(statement.value)
        self._store_targets(*statement.targets)

    def _annassign(self, statement: ast.AnnAssign) -> None:
        self._add_reads(statement.annotation, statement.value)
        if statement.value:
            self._store_targets(statement.target)

    def _augassign(self, statement: ast.AugAssign) -> None:
        if isinstance(statement.target, ast.Name):
            self.read |= {statement.target.id} - self.set
        self._add_reads(statement.value)
        self._store_targets(statement.target)

    def _delete(self, statement: ast.Delete) -> None:
        self._add_reads(statement)
        self.set -= {target.id for target in statement.targets if isinstance(target, ast.Name)}

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        self.set |= {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}

    _importfrom = _import

    def _functiondef(self, statement: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._add_reads(*statement.decorator_list, statement.args, statement.returns)
        self.set.add(statement.name)

    _asyncfunctiondef = _functiondef

    def _classdef(self, statement: ast.ClassDef) -> None:
        self._add_reads(*statement.decorator_list, *statement.bases, *statement.keywords)
        self._follow_branch(statement.body)
        self.set.add(statement.name)

    def _if(self, statement: ast.If) -> None:
        self._add_reads(statement.test)
        self.set |= self._follow_branch(statement.body) & self._follow_branch(statement.orelse)

    def _for(self, statement: ast.For | ast.AsyncFor) -> None:
        self._add_reads(statement.iter)
        self._store_targets(statement.target)
        self.follow(statement.body).follow(statement.orelse)

    _asyncfor = _for

    def _while(self, statement: ast.While) -> None:
        self._add_reads(statement.test)
        self.follow(statement.body).follow(statement.orelse)

    def _with(self, statement: ast.With | ast.AsyncWith) -> None:
        for item in statement.items:
            self._add_reads(item.context_expr)
            self._store_targets(item.optional_vars)
        self.follow(statement.body)

    _asyncwith = _with

    def _try(self, statement: ast.Try) -> None:
        for handler in statement.handlers:
            self._add_reads(handler.type)
            self.read |= {handler.name or ""} - self.set - {""}  # the end of the handler deletes the name
            _Flow({*self.set, handler.name or ""}, self.read).follow(handler.body)
        self.follow(statement.body).follow(statement.orelse).follow(statement.finalbody)

    _trystar = _try

    def _match(self, statement: ast.Match) -> None:
        self._add_reads(statement.subject)
        for case in statement.cases:
            captures = {getattr(node, "name", None) or getattr(node, "rest", None) for node in ast.walk(case.pattern)}
            branch = _Flow(self.set | {name for name in captures if name}, self.read)
            branch._add_reads(case.pattern, case.guard)
            branch.follow(case.body)


def _iterate_reads(expression: ast.AST) -> Iterator[str]:
    """Yield the names that an expression reads, without the bodies of functions."""
    waiting: list[ast.AST] = [expression]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Lambda):
            waiting.append(node.args)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            targets = {
                name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
            yield from (
                name for child in ast.iter_child_nodes(node) for name in _iterate_reads(child) if name not in targets
            )
        else:
            waiting += ast.iter_child_nodes(node)
