"""Which magic calls which operation, found in the code: what a magic's function reaches, call by call."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import lk_jupyter
from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, Group
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.registry import MAGICS, magic_named

pytestmark = pytest.mark.xdist_group("operations")  # they share the index

ROOT = Path(lk_jupyter.__file__).parent
CLIENT = Client("http://127.0.0.1")
GROUPS = {type(part): name for name in vars(Client) if isinstance(part := getattr(CLIENT, name), Group)}
CLASSES = {group.__name__: name for group, name in GROUPS.items()}
OPERATIONS = {f"{GROUPS[endpoint.owner]}.{endpoint.name}" for endpoint in ENDPOINTS}

#: Rooms that a magic does not call, or calls over the wire only.
ELSEWHERE = {"localcloud", "remote", "serverext"}


#: Names that say nothing of whose method is meant: those of Python's own types, and of operations.
COMMON = {name for kind in (dict, list, set, str, bytes, Path) for name in dir(kind)} | {
    endpoint.name for endpoint in ENDPOINTS
}


class Index(ast.NodeVisitor):
    """Functions of the package: the operations that each calls, the names it uses, and where these come from."""

    def __init__(self):
        self.defined = defaultdict(list)  # name of a function, a class or a method → its nodes
        self.methods = {}  # node → the name of its class
        self.homes = {}  # node → its module
        self.imports = defaultdict(dict)  # module → what a name in it is called at home
        self.module = None

    def visit_ClassDef(self, node):
        self.methods.update({part: node.name for part in node.body if isinstance(part, ast.FunctionDef)})
        self.visit_FunctionDef(node)

    def visit_FunctionDef(self, node):
        self.defined[node.name].append(node)
        self.homes[node] = self.module
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def generic_visit(self, node):
        """Visit statements alone: no expression defines or imports anything."""
        for part in ast.iter_child_nodes(node):
            if not isinstance(part, ast.expr):
                self.visit(part)

    def visit_ImportFrom(self, node):
        for name in node.names:
            self.imports[self.module][name.asname or name.name] = (node.module, name.name)

    def uses(self, node):
        """Iterate over the definitions that a function uses: a name as its module knows it, a method by its name."""
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute):
                if not OPERATIONS.intersection(_operations_in(part)):
                    yield from self._members(part, self.homes[node])
            elif isinstance(part, ast.Name):
                home, name = self.imports[self.homes[node]].get(part.id, (self.homes[node], part.id))
                found = [each for each in self.defined[name] if self.homes[each] == home]
                for each in found:
                    yield from _made(each) if isinstance(each, ast.ClassDef) else [each]

    def _members(self, part, module):
        """Return what an attribute may be: a function of an imported module, a method of a class known here, or the
        one method of its name."""
        owner = self.imports[module].get(part.value.id) if isinstance(part.value, ast.Name) else None
        named = self.defined[part.attr]
        of_module = [each for each in named if owner and self.homes[each] == ".".join(owner)]
        known = [each for each in named if each in self.methods and self._knows(module, each)]
        alone = [each for each in named if each in self.methods] if part.attr not in COMMON else []
        return of_module or (alone if len(alone) == 1 else known)

    def _knows(self, module, method):
        """Whether a module has the class of a method, or the module that it is in."""
        home, name = self.homes[method], self.methods[method]
        return home == module or any(
            name == what if where == home else f"{where}.{what}" == home
            for where, what in self.imports[module].values()
        )


def _made(node):
    """Return what runs when an object of the class is made; a class without such a method is its own.

    A base class may call all methods of its subclass.
    """
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    if node.bases and methods:
        return methods
    return [next((part for part in methods if part.name in {"__init__", "__post_init__"}), node)]


def _operations_in(node):
    """Return the operations that stand in a function: ``….vms.create``, or ``create`` of a name that is the group."""
    parts = list(ast.walk(node))
    groups = {
        target.id: each.value.attr
        for each in parts
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Attribute)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    for part in parts:
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Attribute):
            yield f"{part.value.attr}.{part.attr}"
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            yield f"{groups.get(part.value.id) or CLASSES.get(part.value.id, part.value.id)}.{part.attr}"


@cache
def index():
    found = Index()
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if parts[1] not in ELSEWHERE:
            found.module = ".".join(part for part in parts if part != "__init__")
            found.visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


@cache
def used_by(node):
    return tuple(index().uses(node))


@cache
def operations_in(node):
    return OPERATIONS.intersection(_operations_in(node))


@cache
def called_by(title):
    """Return the operations that the code below a magic calls."""
    name, _, verb = title.lstrip("%").partition(" ")
    magic = magic_named(name)
    function = (magic.verbs[verb] if verb else magic).function
    module = function.__module__
    todo = [node for node in index().defined[function.__name__] if index().homes[node] == module]
    seen = set(todo)
    while todo:
        for node in used_by(todo.pop()):
            if node not in seen:
                seen.add(node)
                todo.append(node)
    return set().union(*map(operations_in, seen))


def titles():
    for row in MAGICS:
        magic = magic_named(row.name)
        verbs = magic.verbs.values() if isinstance(magic, Subcommands) else [magic]
        yield from (each.title for each in verbs)


#: Magic → the operations that name it, such as ``vms.create``.
CALLS = defaultdict(set)
for _endpoint in ENDPOINTS:
    for _magic in _endpoint.magics:
        CALLS[_magic].add(f"{GROUPS[_endpoint.owner]}.{_endpoint.name}")


@pytest.mark.parametrize("title", CALLS)
def test_a_magic_calls_the_operations_that_name_it(title):
    assert title in set(titles())
    assert CALLS[title] <= called_by(title)


def test_a_call_that_a_magic_does_not_make_is_found_out():
    assert "vms.rename" not in called_by("%lk_secrets list")
    assert "mfa.enroll" not in called_by("%lk_whoami")


def test_all_but_a_few_operations_have_a_magic_and_those_have_a_reason():
    by_operation = defaultdict(list)  # two calls of one operation: as a whole, and as a stream
    for endpoint in ENDPOINTS:
        by_operation[endpoint.method, endpoint.server, endpoint.path].append(endpoint)
    without = [calls for calls in by_operation.values() if not any(endpoint.magics for endpoint in calls)]
    assert len(by_operation) - len(without) >= 105
    assert all(endpoint.no_magic for calls in without for endpoint in calls)
    assert not [endpoint.title for endpoint in ENDPOINTS if endpoint.magics and endpoint.no_magic]
