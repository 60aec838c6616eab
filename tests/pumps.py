"""Texts that keep a regular expression busy, made of its own parts, and all regular expressions of a package."""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from re import _constants as codes
        from re import _parser as syntax
    except ImportError:  # Python 3.10
        import sre_constants as codes
        import sre_parse as syntax

METHODS = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}

_FLAGS = (re.IGNORECASE, re.MULTILINE, re.DOTALL, re.VERBOSE, re.ASCII)

#: A text after a long run: a pattern that fails there tries all that came before.
TAILS = ("", "\0", "\n")


class Expression(NamedTuple):
    """A regular expression, and by which method the package uses it."""

    pattern: str
    flags: int
    method: str
    place: str


def expressions(root: Path) -> list[Expression]:
    """Return the expressions in the sources below a folder, and the compiled ones in its modules."""
    found: dict[tuple[str, int, str], Expression] = {}
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = _methods(tree)
        for expression in [*_literal(tree, path.name, used), *_compiled(name, used)]:
            found.setdefault(expression[:3], expression)
    return list(found.values())


#: A regular expression in TypeScript, after a sign that no division follows.
_SCRIPT = re.compile(
    r"(?:[=(,:!&|?{};\[]|return)\s*/(?![*/])((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([dgimsuvy]*)(?=[\s.,;)\]])"
)


def script_expressions(root: Path) -> list[Expression]:
    """Return the expressions in TypeScript below a folder, in Python's syntax."""
    found = []
    for path in sorted([*root.rglob("*.ts"), *root.rglob("*.tsx")]):
        if not path.name.endswith((".test.ts", ".test.tsx")):
            for match in _SCRIPT.finditer(path.read_text(encoding="utf-8")):
                pattern = re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", match[1]).replace("\\/", "/")
                pattern = re.sub(r"\\u\{([0-9a-fA-F]+)\}", lambda code: re.escape(chr(int(code[1], 16))), pattern)
                pattern = re.sub(r"\\p\{\w+\}", r"\\w", pattern)
                flags = (re.IGNORECASE * ("i" in match[2])) | (re.MULTILINE * ("m" in match[2]))
                found.append(Expression(pattern, flags, "search", path.name))
    return found


def _methods(tree: ast.Module) -> dict[str, set[str]]:
    """Return name of a pattern → methods that the module calls on it."""
    used: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in METHODS and isinstance(node.value, ast.Name):
            used.setdefault(node.value.id, set()).add(node.attr)
    return used


def _method(used: set[str] | None) -> str:
    """Return the method that looks at most places: a search starts at each character."""
    return "fullmatch" if used == {"fullmatch"} else "match" if used and used <= {"match", "fullmatch"} else "search"


def _literal(tree: ast.Module, file: str, used: dict[str, set[str]]) -> Iterator[Expression]:
    names = {
        id(node.value): node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        if not (isinstance(function, ast.Attribute) and ast.unparse(function.value) == "re" and node.args):
            continue
        pattern, flags = node.args[0], ast.unparse(node)
        if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str):
            bits = sum(flag for flag in _FLAGS if f"re.{flag.name}" in flags)
            method = _method(used.get(names.get(id(node), ""))) if function.attr == "compile" else function.attr
            yield Expression(pattern.value, bits, method, f"{file}:{node.lineno}")


def _compiled(name: str, used: dict[str, set[str]]) -> Iterator[Expression]:
    if any(part.startswith("_lk_") or part in {"__main__", "_boot"} for part in name.split(".")):
        return  # these act when they are imported
    try:
        if name == "lk_jupyter.papermill_engine":  # papermill imports its engines, and nothing else does
            importlib.import_module("papermill")
        module = importlib.import_module(name)
    except (ImportError, SystemExit):
        return
    for key, value in vars(module).items():
        if not key.startswith("__") and not isinstance(value, ModuleType):
            for pattern in _patterns_in(value, 4):
                if isinstance(pattern.pattern, str):
                    yield Expression(
                        pattern.pattern, pattern.flags & sum(_FLAGS), _method(used.get(key)), f"{name}.{key}"
                    )


def _patterns_in(value: Any, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict):
        for item in [*value, *value.values()]:
            yield from _patterns_in(item, depth - 1)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _patterns_in(item, depth - 1)
    elif depth and hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        for field in value.__dataclass_fields__:
            yield from _patterns_in(getattr(value, field, None), depth - 1)


def pumps(pattern: str, flags: int) -> list[tuple[str, str]]:
    """Return pairs of a start and a piece: the piece many times after the start may keep the pattern busy."""
    tree = syntax.parse(pattern, flags)
    found = dict.fromkeys(_pumps(tree, ""))
    signs = dict.fromkeys("".join(_signs(tree)))
    sample = _sample(tree)
    found.update(dict.fromkeys(("", sign) for sign in itertools.islice(signs, 16)))
    found.update(dict.fromkeys(("", one + two) for one, two in itertools.islice(itertools.permutations(signs, 2), 12)))
    found.update({("", sample): None, ("", sample[:-1]): None, ("", sample[:-1] + "\n"): None, ("", "\n"): None})
    return [pair for pair in found if pair[1]]


def _pumps(tree: Any, before: str) -> Iterator[tuple[str, str]]:
    """Yield each repeat with an example of what comes before it."""
    for code, value in tree:
        if code in _REPEATS:
            _, most, body = value
            for piece in _samples(body):
                if most > 20:
                    yield before, piece
                    yield "", before + piece
            yield from _pumps(body, before)
        elif code is codes.SUBPATTERN:
            yield from _pumps(value[-1], before)
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _pumps(branch, before)
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _pumps(value[1], before)
        elif code is _ATOMIC:
            yield from _pumps(value, before)
        before += _sample([(code, value)])


_ATOMIC = getattr(codes, "ATOMIC_GROUP", None)
_REPEATS = {codes.MAX_REPEAT, codes.MIN_REPEAT, getattr(codes, "POSSESSIVE_REPEAT", None)}


def _samples(tree: Any) -> list[str]:
    """Return examples of what a part matches: one for each branch and each member of a class."""
    found = [_sample(tree)]
    for code, value in tree:
        if code is codes.BRANCH:
            found += [_sample(branch) for branch in value[1]]
        elif code is codes.IN:
            found += _members(value)
        elif code is codes.SUBPATTERN:
            found += _samples(value[-1])
        elif code in _REPEATS:
            found += _samples(value[2])
    return list(dict.fromkeys(found))[:12]


def _sample(tree: Any) -> str:
    text = ""
    for code, value in tree:
        if code is codes.LITERAL:
            text += chr(value)
        elif code is codes.NOT_LITERAL:
            text += "b" if value == ord("a") else "a"
        elif code is codes.ANY:
            text += "a"
        elif code is codes.IN:
            text += next(iter(_members(value)), "")
        elif code is codes.BRANCH:
            text += _sample(value[1][0])
        elif code is codes.SUBPATTERN:
            text += _sample(value[-1])
        elif code in _REPEATS:
            text += _sample(value[2]) * min(max(1, value[0]), 50)
        elif code is _ATOMIC:
            text += _sample(value)
    return text


_CATEGORIES = {
    codes.CATEGORY_DIGIT: "7", codes.CATEGORY_NOT_DIGIT: "a", codes.CATEGORY_SPACE: " ", codes.CATEGORY_NOT_SPACE: "a",
    codes.CATEGORY_WORD: "a", codes.CATEGORY_NOT_WORD: ".",
}  # fmt: skip


def _members(members: Any) -> list[str]:
    """Return examples of the characters in a class."""
    if members and members[0][0] is codes.NEGATE:
        outside = re.compile("[^" + "".join(map(_as_class, members[1:])) + "]")
        return [sign for sign in "a 7.-/'\"=:,\n" if outside.match(sign)][:5]
    found = []
    for code, value in members:
        if code is codes.LITERAL:
            found.append(chr(value))
        elif code is codes.RANGE:
            found.append(chr(value[0]))
        elif code is codes.CATEGORY:
            found.append(_CATEGORIES.get(value, "a"))
    return found


def _as_class(member: Any) -> str:
    code, value = member
    if code is codes.LITERAL:
        return re.escape(chr(value))
    if code is codes.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    return {
        codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_NOT_DIGIT: r"\D", codes.CATEGORY_SPACE: r"\s",
        codes.CATEGORY_NOT_SPACE: r"\S", codes.CATEGORY_WORD: r"\w", codes.CATEGORY_NOT_WORD: r"\W",
    }[value]  # fmt: skip


def _signs(tree: Any) -> Iterator[str]:
    """Yield an example of each literal and class."""
    for code, value in tree:
        if code is codes.LITERAL:
            yield chr(value)
        elif code is codes.IN:
            yield from _members(value)
        elif code is codes.SUBPATTERN:
            yield from _signs(value[-1])
        elif code in _REPEATS:
            yield from _signs(value[2])
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _signs(branch)
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _signs(value[1])


def modules_below(package: ModuleType) -> list[str]:
    """Return the names of all modules of a package."""
    return [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
