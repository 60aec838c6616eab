"""Check the text of a compose file as far as possible before the text is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn

import yaml

from lk_jupyter.errors import UsageError

#: Top-level keys of a compose file. Names with the prefix x- are free.
_TOP = {"name", "version", "services", "networks", "volumes", "configs", "secrets", "include", "models"}

#: Keys that define the image of a service.
_SOURCES = {"image", "build", "extends", "<<", "provider"}

#: Keys of a service that refer to top-level keys.
_NAMED = ("networks", "configs", "secrets")
_IMPLICIT_NAMES = {"networks": {"default"}}


@dataclass(frozen=True)
class Stack:
    """List the images and the published ports of a compose file."""

    images: tuple[str, ...]
    ports: tuple[int, ...]

    @classmethod
    def parse(cls, text: str, first_line: int = 1) -> Stack:
        """Read a compose file; ``first_line`` is the number of its first line in the author's cell.

        Raises UsageError with the line of the first problem.
        """
        root = _parse_compose(text, first_line)
        checker = _Checker(root, first_line)
        checker.check()
        services = checker.services.values()
        images = [_read_scalar(image) for service in services if (image := _find_child(service, "image"))]
        ports = [port for service in services for port in _iterate_ports(_find_child(service, "ports"))]
        return cls(tuple(dict.fromkeys(images)), tuple(dict.fromkeys(ports)))


def _parse_compose(text: str, first_line: int) -> yaml.MappingNode:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UsageError(f"{_format_yaml_error(error, first_line)}. Nothing was sent.") from None
    except RecursionError:
        raise UsageError("The cell is nested too deeply for a compose file. Nothing was sent.") from None
    if not isinstance(root, yaml.MappingNode):
        raise UsageError("The cell isn't a compose file: it must start with 'services:'. Nothing was sent.")
    return root


def _format_yaml_error(error: yaml.YAMLError, first_line: int) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be read"
    if "\\t" in problem:
        problem = "the line contains a tab; indent YAML with spaces"
    return f"Not YAML in line {mark.line + first_line}: {problem}" if mark else f"Not YAML: {problem}"


class _Checker:
    def __init__(self, root: yaml.MappingNode, first_line: int) -> None:
        self._root = root
        self._first_line = first_line
        self.services: dict[str, yaml.Node] = {}

    def check(self) -> None:
        """Raise UsageError for the first problem that would stop the run."""
        self._check_top()
        for name, service in self.services.items():
            self._check_service(name, service)
        self._check_circles()

    def _check_top(self) -> None:
        for key, _ in self._iterate_pairs(self._root):
            if _read_scalar(key) not in _TOP and not _read_scalar(key).startswith("x-"):
                self._fail(
                    key, f"'{_read_scalar(key)}' isn't a top-level key of a compose file", _read_scalar(key), _TOP
                )
        services: yaml.Node | None = _find_child(self._root, "services")
        if not isinstance(services, yaml.MappingNode) or not services.value:
            self._fail(services or self._root, "a compose file needs 'services:' with at least one service below it")
        self.services = {_read_scalar(key): value for key, value in self._iterate_pairs(services)}

    def _check_service(self, name: str, service: yaml.Node) -> None:
        if not isinstance(service, yaml.MappingNode):
            self._fail(service, f"service '{name}' is empty: give it an image")
        keys = {_read_scalar(key): key for key, _ in self._iterate_pairs(service)}
        if not _SOURCES & set(keys):
            self._fail(service, f"service '{name}' has no image")
        for key, why in _LOCAL_KEYS.items():
            if key in keys:
                self._fail(keys[key], f"service '{name}': {key} {why}")
        for dependency in _list_names(_find_child(service, "depends_on")):
            if _read_scalar(dependency) not in self.services:
                problem = (
                    f"service '{name}' depends on '{_read_scalar(dependency)}', which isn't a service of this file"
                )
                self._fail(dependency, problem, _read_scalar(dependency), self.services)
        for kind in _NAMED:
            self._check_named(name, service, kind)

    def _check_named(self, name: str, service: yaml.Node, kind: str) -> None:
        declared = {_read_scalar(node) for node in _list_names(_find_child(self._root, kind))} | _IMPLICIT_NAMES.get(
            kind, set()
        )
        for node in _list_names(_find_child(service, kind)):
            reference = _read_scalar(_find_child(node, "source") or node)
            if reference not in declared:
                problem = (
                    f"service '{name}' uses {kind[:-1]} '{reference}', which isn't declared in '{kind}:' at the top"
                )
                self._fail(node, problem, reference, declared)

    def _check_circles(self) -> None:
        """Refuse services that wait for each other."""
        done: set[str] = set()

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                circle = " → ".join([*above[above.index(name) :], name])
                self._fail(self.services[name], f"these services wait for each other: {circle}")
            if name not in done:
                for dependency in _list_names(_find_child(self.services[name], "depends_on")):
                    visit(_read_scalar(dependency), (*above, name))
                done.add(name)

        for name in self.services:
            visit(name, ())

    def _iterate_pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield the keys of a map with their values. Refuse a key that appears twice."""
        keys: set[str] = set()
        for key, value in node.value:
            if _read_scalar(key) in keys:
                self._fail(key, f"'{_read_scalar(key)}' appears twice")
            keys.add(_read_scalar(key))
            yield key, value

    def _fail(self, node: yaml.Node, problem: str, value: str = "", choices: Any = ()) -> NoReturn:
        near = get_close_matches(value, choices, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UsageError(f"Line {node.start_mark.line + self._first_line}: {problem}.{hint} Nothing was sent.")


_LOCAL_KEYS = {
    "build": "needs files of this machine, but only the compose file is sent. Push the image, and give its name under "
    "image:",
    "env_file": "refers to a local file, but only the compose file is sent. Put the variables under environment:",
}


def _read_scalar(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _find_child(node: yaml.Node | None, key: str) -> Any:
    """Return the node below a key of a map."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if _read_scalar(name) == key), None)


def _list_names(node: yaml.Node | None) -> list[yaml.Node]:
    """Return the names in a list, or the keys of a map."""
    if isinstance(node, yaml.MappingNode):
        return [key for key, _ in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _iterate_ports(node: yaml.Node | None) -> Iterator[int]:
    """Yield the ports at which a service is reached from outside."""
    for port in node.value if isinstance(node, yaml.SequenceNode) else ():
        port_text = _read_scalar(_find_child(port, "published") or _find_child(port, "target") or port)
        parts = port_text.partition("/")[0].split(":")
        published = parts[-2] if len(parts) > 1 else parts[-1]
        if published.isdecimal():
            yield int(published)
