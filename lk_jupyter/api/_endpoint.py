"""A typed signature becomes a Call: what the client sends and the local cloud mounts.

Placeholders of the path are filled from the arguments of the same name, a model is the body (a form
when it holds an ``Upload``), ``InHeader`` marks a header, the rest is the query. A return type of
``Iterator[…]`` is a stream of server-sent events, ``Download`` the bytes of a file. A return type that
allows None takes every answer of success: a server that has stopped something may say so in any form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
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
from lk_jupyter.text.problems import in_words

P = ParamSpec("P")
R = TypeVar("R")

#: What an operation does to the account. ``stops`` ends a run or a batch, and with it a bill.
Effect = Literal["reads", "spends", "writes", "deletes", "stops"]

# The servers, as prefixes of the path. Iris is a host of its own, found below its prefix where no address is given.
EXTERNAL = "/api/v2/external"
V1 = "/api/v1"
OPENAI = "/openai/v1"
IRIS = "/iris"

#: ``{name}``, or ``{name:path}`` for a value whose slashes are part of the path.
PLACEHOLDER = re.compile(r"{(\w+)(:path)?}")


@dataclass(frozen=True)
class InHeader:
    """Marks an argument that travels as this header: ``Annotated[str | None, InHeader("X-Deployment-ID")]``."""

    name: str


@dataclass(frozen=True)
class Call:
    """One request, complete but not sent."""

    endpoint: Endpoint
    path: str
    query: dict[str, Any]
    headers: dict[str, str]
    body: BaseModel | None


class Endpoint:
    """One operation: method, path and the signature that declares it.

    ``effect`` is what the operation does to the account: read-only mode, budgets and the audit log depend on it.
    ``servers`` are the path prefixes of the servers that offer it (the client asks the first),
    ``auth`` is whether a token is sent, ``status`` the status of success, ``repeatable`` whether sending
    it twice does the same as sending it once, ``timeout`` the seconds for each of its steps where
    they are not the client's. ``magics`` are the magics that call the operation, ``no_magic`` is the reason if there is
    no such magic.
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
        self.timeout = timeout
        self.magics = magics
        self.no_magic = no_magic
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner
        self.name = name
        _ENDPOINTS.append(self)

    def __get__(self, group: Group | None, owner: type | None = None) -> Any:
        return self if group is None else _bound(self, group)

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
        """What reads an answer."""
        return TypeAdapter(self.returns)

    @property
    def takes_any_answer(self) -> bool:
        """Whether success is all that counts: an answer that holds none of the declared type is read as None."""
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
        """The model of a body that may not be sent as it is, though it fits: a model with a ``problem``."""
        models = (model for row in self.signature.parameters.values() for model in _models(row.annotation))
        return next((m for m in models if issubclass(m, Model) and m.problem is not Model.problem), None)

    @cached_property
    def _checks(self) -> dict[str, TypeAdapter[Any]]:
        return {name: TypeAdapter(argument.annotation) for name, argument in self.signature.parameters.items()}

    def place(self, name: str) -> str:
        """Where an argument travels: ``path``, ``header``, ``body`` or ``query``."""
        if any(name == placeholder for placeholder, _ in PLACEHOLDER.findall(self.path)):
            return "path"
        if self.header(name):
            return "header"
        return "body" if _models(self.signature.parameters[name].annotation) else "query"

    def header(self, name: str) -> str | None:
        """Return the header that an argument travels as, if it does."""
        annotation = self.signature.parameters[name].annotation
        kinds = (annotation, *get_args(annotation))  # Python 3.10 makes what is None by default an Optional[Annotated]
        marks = (mark for kind in kinds for mark in getattr(kind, "__metadata__", ()))
        return next((mark.name for mark in marks if isinstance(mark, InHeader)), None)

    def call(self, *args: Any, **kwargs: Any) -> Call:
        """Build the request for these arguments.

        Raises TypeError for arguments that the signature does not have, UsageError for a value
        that does not fit.
        """
        by_place: dict[str, dict[str, Any]] = {"path": {}, "header": {}, "body": {}, "query": {}}
        for name, value in self._bind(*args, **kwargs).items():
            if value is not None:
                by_place[self.place(name)][name] = self._checked(name, value)
        body = next(iter(by_place["body"].values()), None)
        if self.checked_body and isinstance(body, self.checked_body) and (problem := body.problem()):
            raise UsageError(f"{problem} Nothing was sent.")
        return Call(
            self,
            self.server + self._filled(by_place["path"]),
            by_place["query"],
            {str(self.header(name)): self._line(name, value) for name, value in by_place["header"].items()},
            self._streamed(body),
        )

    def _bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.title}: {error}. It takes {self.signature}.") from None

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return self._checks[name].validate_python(value)
        except ValidationError as error:
            what = explain(error, name)
        raise UsageError(f"{self.title}: {what}.")

    def _line(self, name: str, value: Any) -> str:
        """Return a value as the text of a header."""
        text = str(value)
        if not (text.isascii() and text.isprintable()):
            raise UsageError(f"{self.title}: {name} goes into a header, which may contain only printable ASCII.")
        return text

    def _streamed(self, body: BaseModel | None) -> BaseModel | None:
        """Return the body with its field ``stream``, if it has one, as the declared answer wants it."""
        if body is None or "stream" not in type(body).model_fields:
            return body
        if self.streams:
            return body.model_copy(update={"stream": True})
        if getattr(body, "stream", None):
            raise UsageError(
                f"{self.title} returns a complete answer: leave out stream, or call the operation that streams."
            )
        return body

    def _filled(self, values: dict[str, Any]) -> str:
        """Return the path with its placeholders filled; ``{name:path}`` keeps the slashes of its value."""
        if empty := [name for name, value in values.items() if value == ""]:
            raise UsageError(f"{self.title}: {empty[0]} is empty.")
        return PLACEHOLDER.sub(lambda match: _quoted(str(values[match[1]]), safe="/" if match[2] else ""), self.path)


#: Problems of one answer that are listed: each takes about 2 kB of memory.
MOST_PROBLEMS = 20_000


def explain(error: ValidationError, *place: str) -> str:
    """Return which value doesn't fit, and never the value itself: ``limit must be a whole number``."""
    if error.error_count() > MOST_PROBLEMS:
        return f"{error.error_count():,} of its values don't fit"
    first = error.errors(include_input=False, include_url=False)[0]
    return " ".join(filter(None, (".".join(map(str, (*place, *first["loc"]))), in_words(first))))


def _models(annotation: Any) -> list[type[BaseModel]]:
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isclass(kind) and not get_args(kind) and issubclass(kind, BaseModel)]


def is_form(body: type[BaseModel]) -> bool:
    """Whether a body travels as a form of several parts, since it holds files."""
    fields = [field.annotation for model in get_args(body) or (body,) for field in model.model_fields.values()]
    return any(Upload in (kind, *get_args(kind)) for kind in fields)


def _quoted(value: str, safe: str) -> str:
    """Quote a value for a path; steps such as ``..`` too, which would lead to another address."""
    steps = quote(value, safe=safe).split("/")
    return "/".join(step if step.strip(".") else step.replace(".", "%2E") for step in steps)


_ENDPOINTS: list[Endpoint] = []

if TYPE_CHECKING:
    ENDPOINTS: list[Endpoint]


def __getattr__(name: str) -> list[Endpoint]:
    """Return ``ENDPOINTS``, the operations of all groups, which are imported for that."""
    if name != "ENDPOINTS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            import_module(f"{__package__}.{module.name}")
    return _ENDPOINTS


class Group:
    """Operations that share the first segment of their path.

    ``is_audited`` is whether the audit log has the operations that spend or write; it has all that delete.
    """

    is_audited: ClassVar[bool] = False

    def __init__(self, send: Callable[[Call], Any]) -> None:
        self._send = send


def _bound(endpoint: Endpoint, group: Group) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return group._send(endpoint.call(*args, **kwargs))

    call.__doc__ = endpoint.__doc__
    call.__name__ = endpoint.name
    call.__signature__ = endpoint.signature  # type: ignore[attr-defined]
    return call


def endpoint_of(method: Callable[..., Any]) -> Endpoint:
    """Return the declaration behind ``Group.method``, which type checkers see as a function."""
    return cast("Endpoint", method)


@dataclass(frozen=True)
class _Verb:
    """Decorator that declares an operation; the function's signature is the operation's."""

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
