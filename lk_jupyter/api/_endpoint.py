"""Convert typed signatures into Calls, which the client sends and the local cloud serves.

Arguments fill the placeholders of the same name in the path; a model is the body (a form if the model contains an
``Upload``), ``InHeader`` marks a header, all other arguments are the query. A return type of ``Iterator[…]`` is a
stream of server-sent events, ``Download`` the bytes of a file. A return type that allows None accepts every successful
answer: servers may confirm a stop in any form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from inspect import Signature, isclass, signature
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar, Literal, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import Model
from lk_jupyter.errors import UsageError
from lk_jupyter.text.problems import describe_problem
from lk_jupyter.text.units import count_label

P = ParamSpec("P")
R = TypeVar("R")

#: Effect of an operation on the account. ``stops`` ends a run or a batch, and its bill.
Effect = Literal["reads", "spends", "writes", "deletes", "stops"]

# The servers, as prefixes of the path. Iris is a separate host, or a prefix if no address is configured.
EXTERNAL = "/api/v2/external"
V1 = "/api/v1"
OPENAI = "/openai/v1"

#: Header in which a broker reports the address of the cloud.
CLOUD_HEADER = "lk-cloud"

#: Header in which a broker reports the end of the key, in Unix seconds.
LEASE_HEADER = "lk-lease-end"
IRIS = "/iris"

#: ``{name}``, or ``{name:path}`` for a value with slashes.
PLACEHOLDER = re.compile(r"{(\w+)(:path)?}")


@dataclass(frozen=True)
class InHeader:
    """Mark an argument that is sent as a header: ``Annotated[str | None, InHeader("X-Deployment-ID")]``."""

    name: str


@dataclass(frozen=True)
class Call:
    """A complete request before the request is sent."""

    endpoint: Endpoint
    path: str
    query: dict[str, Any]
    headers: dict[str, str]
    body: BaseModel | None


class Endpoint:
    """An operation: method, path and the declaring signature.

    ``effect`` is the effect on the account: read-only mode, budgets and the audit log depend on the effect.
    ``servers`` are the path prefixes of the servers that offer the operation (the client tries the first), ``auth``
    is whether a token is sent, ``status`` the status of success, ``repeatable`` whether a second request has the same
    effect as the first, ``creates`` whether each request creates an object that is billed, ``timeout`` the seconds
    for each step if different from the client's. ``magics`` are the magics that call the operation, ``no_magic`` is
    the reason if there is no such magic.
    """

    def __init__(  # noqa: PLR0913 (one row of facts)
        self,
        method: str,
        path: str,
        function: Callable[..., Any],
        *,
        effect: Effect,
        servers: tuple[str, ...],
        auth: bool,
        status: int,
        repeatable: bool,
        creates: bool,
        timeout: float | None,
        magics: tuple[str, ...],
        no_magic: str,
    ) -> None:
        self.method = method
        self.path = path
        self.function = function
        self.effect: Effect = effect
        self.servers = servers
        self.server = servers[0]
        self.auth = auth
        self.status = status
        self.repeatable = repeatable
        self.creates = creates
        self.timeout = timeout
        self.magics = magics
        self.no_magic = no_magic
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner
        self.name = name
        _ENDPOINTS.append(self)

    def __get__(self, group: Group | None, owner: type | None = None) -> Any:
        return self if group is None else _bind_operation(self, group)

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def title(self) -> str:
        """Name of the operation for messages, such as ``Workloads.abort``."""
        return f"{self.owner.__name__.removesuffix('Group')}.{self.name}"

    @property
    def is_audited(self) -> bool:
        """Whether the audit log has a line for each call."""
        changes = self.effect in {"spends", "writes"} and issubclass(self.owner, Group) and self.owner.is_audited
        return self.effect == "deletes" or changes

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function, include_extras=True)

    @cached_property
    def signature(self) -> Signature:
        """The declared arguments with their types resolved, without ``self``."""
        declared = signature(self.function)
        arguments = list(declared.parameters.values())[1:]
        return Signature([a.replace(annotation=self._hints[a.name]) for a in arguments], return_annotation=self.returns)

    @cached_property
    def returns(self) -> Any:
        """The declared type of the answer."""
        return self._hints["return"]

    @cached_property
    def answer_type(self) -> TypeAdapter[Any]:
        """The parser of the answer."""
        return TypeAdapter(self.returns)

    @property
    def takes_any_answer(self) -> bool:
        """Whether only the status counts: an answer without the declared type is read as None."""
        return self.returns is type(None) or type(None) in get_args(self.returns)

    @cached_property
    def streams(self) -> bool:
        """Whether the answer is a stream of server-sent events."""
        return get_origin(self.returns) is Iterator

    @cached_property
    def downloads(self) -> bool:
        """Whether the answer is the bytes of a file."""
        return self.returns is Download

    @cached_property
    def checked_body(self) -> type[Model] | None:
        """The model of a body with a ``problem``: such a body may be valid, but must not be sent unchecked."""
        models = (model for row in self.signature.parameters.values() for model in _list_models(row.annotation))
        return next((m for m in models if issubclass(m, Model) and m.problem is not Model.problem), None)

    @cached_property
    def _checks(self) -> dict[str, TypeAdapter[Any]]:
        return {name: TypeAdapter(argument.annotation) for name, argument in self.signature.parameters.items()}

    def place(self, name: str) -> str:
        """Return the place of an argument: ``path``, ``header``, ``body`` or ``query``."""
        if any(name == placeholder for placeholder, _ in PLACEHOLDER.findall(self.path)):
            return "path"
        if self.header(name):
            return "header"
        return "body" if _list_models(self.signature.parameters[name].annotation) else "query"

    @property
    def query_names(self) -> list[str]:
        """The arguments that are sent in the query: no other parameter is forwarded for this operation."""
        return [name for name in self.signature.parameters if self.place(name) == "query"]

    def header(self, name: str) -> str | None:
        """Return the header of an argument, or None."""
        annotation = self.signature.parameters[name].annotation
        kinds = (annotation, *get_args(annotation))  # Python 3.10 turns a default of None into an Optional[Annotated]
        marks = (mark for kind in kinds for mark in getattr(kind, "__metadata__", ()))
        return next((mark.name for mark in marks if isinstance(mark, InHeader)), None)

    def call(self, *args: Any, **kwargs: Any) -> Call:
        """Build the request for these arguments.

        Raises TypeError for unknown arguments, UsageError for an invalid value.
        """
        by_place: dict[str, dict[str, Any]] = {"path": {}, "header": {}, "body": {}, "query": {}}
        for name, value in self._bind_arguments(*args, **kwargs).items():
            if value is not None:
                by_place[self.place(name)][name] = self._validate_argument(name, value)
        body = next(iter(by_place["body"].values()), None)
        if self.checked_body and isinstance(body, self.checked_body) and (problem := body.problem()):
            raise UsageError(f"{problem} Nothing was sent.")
        return Call(
            self,
            self.server + self._fill_path(by_place["path"]),
            by_place["query"],
            {
                str(self.header(name)): self._format_header_value(name, value)
                for name, value in by_place["header"].items()
            },
            self._set_stream(body),
        )

    def _bind_arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.title}: {error}. It takes {self.signature}.") from None

    def _validate_argument(self, name: str, value: Any) -> Any:
        try:
            return self._checks[name].validate_python(value)
        except ValidationError as error:
            what = explain(error, name)
        raise UsageError(f"{self.title}: {what}.")

    def _format_header_value(self, name: str, value: Any) -> str:
        """Return a value as the text of a header."""
        text = str(value)
        if not (text.isascii() and text.isprintable()):
            raise UsageError(f"{self.title}: {name} is sent as a header, so use printable ASCII only.")
        return text

    def _set_stream(self, body: BaseModel | None) -> BaseModel | None:
        """Return the body with the field ``stream``, if any, set for the declared answer."""
        if body is None or "stream" not in type(body).model_fields:
            return body
        if self.streams:
            return body.model_copy(update={"stream": True})
        if getattr(body, "stream", None):
            raise UsageError(
                f"{self.title} can't stream its answer. Omit the argument stream, or call the operation that streams."
            )
        return body

    def _fill_path(self, values: dict[str, Any]) -> str:
        """Return the path with its placeholders filled; ``{name:path}`` keeps the slashes of its value."""
        if empty := [name for name, value in values.items() if value == ""]:
            raise UsageError(f"{self.title}: {empty[0]} is empty.")
        return PLACEHOLDER.sub(
            lambda match: _quote_path_value(str(values[match[1]]), safe="/" if match[2] else ""), self.path
        )


#: Maximum number of reported problems of an answer: each problem takes about 2 kB of memory.
MOST_PROBLEMS = 20_000


def explain(error: ValidationError, *place: str) -> str:
    """Return the invalid value's name and the reason, never the value: ``limit must be a whole number``."""
    if error.error_count() > MOST_PROBLEMS:
        return f"another type than expected: {count_label(error.error_count(), 'value')}"
    first = error.errors(include_input=False, include_url=False)[0]
    return " ".join(filter(None, (".".join(map(str, (*place, *first["loc"]))), describe_problem(first))))


def _list_models(annotation: Any) -> list[type[BaseModel]]:
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isclass(kind) and not get_args(kind) and issubclass(kind, BaseModel)]


def is_form(body: type[BaseModel]) -> bool:
    """Return whether a body is sent as a multipart form, since the body contains files."""
    fields = [field.annotation for model in get_args(body) or (body,) for field in model.model_fields.values()]
    return any(Upload in (kind, *get_args(kind)) for kind in fields)


def _quote_path_value(value: str, safe: str) -> str:
    """Quote a value for a path, including steps such as ``..``, which would change the address."""
    steps = quote(value, safe=safe).split("/")
    return "/".join(step if step.strip(".") else step.replace(".", "%2E") for step in steps)


_ENDPOINTS: list[Endpoint] = []

if TYPE_CHECKING:
    ENDPOINTS: list[Endpoint]


def __getattr__(name: str) -> list[Endpoint]:
    """Return ``ENDPOINTS``, the operations of all groups, after importing the groups."""
    if name != "ENDPOINTS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            import_module(f"{__package__}.{module.name}")
    return _ENDPOINTS


_PREFIXES = (EXTERNAL, OPENAI, V1, IRIS)


def find_endpoint(method: str, path: str) -> Endpoint | None:
    """Return the operation of a request by its path without a query; None for an undeclared path."""
    for prefix in _PREFIXES:
        rest = path.removeprefix(prefix)
        fitting = [each for pattern, each in _list_path_patterns() if rest != path and pattern.fullmatch(rest)]
        if fitting:
            return min(fitting, key=lambda each: (each.method != method, each.path.count("{"), -len(each.path)))
    return None


def describe_path(method: str, path: str) -> str:
    """Return the path of a request with the placeholders of its operation; empty for an undeclared path."""
    endpoint = find_endpoint(method, path)
    prefix = next((prefix for prefix in _PREFIXES if path.startswith(prefix)), "")
    return prefix + endpoint.path if endpoint else ""


@cache
def _list_path_patterns() -> list[tuple[re.Pattern[str], Endpoint]]:
    endpoints = __getattr__("ENDPOINTS")
    return [(re.compile(_build_path_pattern(re.sub(r"([.])", r"\\\1", each.path))), each) for each in endpoints]


def _build_path_pattern(path: str) -> str:
    """Return the pattern of a path: only a key at the end may contain slashes."""
    return re.sub(r"\{[^{}]*\}(?=/)", "[^?/]+", re.sub(r"\{[^{}]*\}$", "[^?]+", path))


class Group:
    """Operations with the same first segment of the path.

    ``is_audited`` is whether the audit log records operations that spend or write; the log records all deletions.
    """

    is_audited: ClassVar[bool] = False

    def __init__(self, send: Callable[[Call], Any]) -> None:
        self._send = send


def _bind_operation(endpoint: Endpoint, group: Group) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return group._send(endpoint.call(*args, **kwargs))

    call.__doc__ = endpoint.__doc__
    call.__name__ = endpoint.name
    call.__signature__ = endpoint.signature  # type: ignore[attr-defined]
    return call


def endpoint_of(method: Callable[..., Any]) -> Endpoint:
    """Return the declaration behind ``Group.method``, which is a function for type checkers."""
    return cast("Endpoint", method)


@dataclass(frozen=True)
class _Verb:
    """Declare an operation; the function's signature is the operation's signature."""

    method: str
    repeatable: bool
    effect: Effect | None = None

    def __call__(  # noqa: PLR0913 (one row of facts)
        self,
        path: str,
        *,
        effect: Effect | None = None,
        server: str | tuple[str, ...] = EXTERNAL,
        auth: bool = True,
        status: int = 200,
        repeatable: bool | None = None,
        creates: bool = False,
        timeout: float | None = None,
        magic: str = "",
        no_magic: str = "",
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        def declare(function: Callable[P, R]) -> Callable[P, R]:
            again = self.repeatable if repeatable is None else repeatable
            marked = effect or self.effect
            if marked is None:
                raise TypeError(f"{self.method} {path} needs the argument effect.")
            endpoint = Endpoint(
                self.method,
                path,
                function,
                effect=marked,
                servers=(server,) if isinstance(server, str) else server,
                auth=auth,
                status=status,
                repeatable=again,
                creates=creates,
                timeout=timeout,
                magics=tuple(filter(None, magic.split(", "))),
                no_magic=no_magic,
            )
            return cast("Callable[P, R]", endpoint)

        return declare


GET = _Verb("GET", repeatable=True, effect="reads")
PUT = _Verb("PUT", repeatable=True)
DELETE = _Verb("DELETE", repeatable=True, effect="deletes")
PATCH = _Verb("PATCH", repeatable=False)
POST = _Verb("POST", repeatable=False)
