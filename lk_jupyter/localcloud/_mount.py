"""Turn a declaration of the API and a handler into a route.

A handler has the arguments of the declaration and, first, ``ctx``: a Context, or an AnonymousContext if the declaration
requires no token. Plain functions run in a thread, coroutine functions in the event loop. The declaration defines path,
headers, body, query, limits, status and answer; a body with files is passed as a model, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from inspect import Parameter, Signature
from typing import Annotated, Any, Protocol, TypeVar, cast

from fastapi import Depends, FastAPI, File, Form, Header, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from starlette.datastructures import UploadFile as StarletteUpload

from lk_jupyter.api._endpoint import Endpoint, endpoint_of, is_form
from lk_jupyter.api._files import Upload
from lk_jupyter.localcloud.context import SIGNED, AnonymousContext, Context, caller, visitor

Handler = TypeVar("Handler", bound=Callable[..., Any])

HANDLERS: dict[Endpoint, Callable[..., Any]] = {}


class Routing(Protocol):
    """The paths, the handlers and the requirements of operations."""

    def places(self, endpoint: Endpoint) -> Iterable[tuple[str, str]]:
        """Return method and path of every route of an operation."""

    def handler(self, endpoint: Endpoint, usual: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function that handles an operation."""

    def dependencies(self, endpoint: Endpoint) -> list[Any]:
        """Return the requirements for callers that the declaration doesn't have."""

    def body(self, model: Any) -> Any:
        """Return the model of a body."""


def implements(method: Callable[..., Any], *variants: Callable[..., Any]) -> Callable[[Handler], Handler]:
    """Return a decorator that registers a function as the local cloud's implementation of ``Group.method``.

    ``variants`` are further declarations of the same operation, such as the declaration that returns a stream.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(map(endpoint_of, (method, *variants)), handler))
        return handler

    return register


def mount(app: FastAPI, routing: Routing) -> None:
    """Add a route for every operation with a handler; the first declaration of an operation describes the route."""
    operations: dict[tuple[str, str], Endpoint] = {}
    for endpoint in HANDLERS:
        operations.setdefault((endpoint.method, endpoint.path), endpoint)
    for endpoint in sorted(operations.values(), key=_build_sort_key):
        handler = _set_signature(routing.handler(endpoint, HANDLERS[endpoint]), endpoint, routing)
        for method, path in routing.places(endpoint):
            app.add_api_route(
                path,
                handler,
                methods=[method],
                dependencies=routing.dependencies(endpoint),
                status_code=endpoint.status,
                response_model=None if _is_bare(endpoint) else endpoint.returns,
                response_model_exclude_unset=True,
                openapi_extra=SIGNED if endpoint.auth else None,
            )


def _is_bare(endpoint: Endpoint) -> bool:
    """Whether the answer is none of JSON."""
    return endpoint.streams or endpoint.downloads or endpoint.status == HTTPStatus.NO_CONTENT


def _build_sort_key(endpoint: Endpoint) -> list[bool]:
    """Sort key that puts ``/execution/streaming`` before ``/execution/{execution_id}``."""
    return [part.startswith("{") for part in endpoint.path.split("/")]


def _set_signature(handler: Callable[..., Any], endpoint: Endpoint, routing: Routing) -> Callable[..., Any]:
    """Give the handler the signature that FastAPI reads: the declaration's, and the context."""
    context = Annotated[Context, Depends(caller)] if endpoint.auth else Annotated[AnonymousContext, Depends(visitor)]
    declared = [
        row.replace(kind=Parameter.KEYWORD_ONLY, annotation=_build_annotation(endpoint, row, routing))
        for row in endpoint.signature.parameters.values()
    ]
    cast("Any", handler).__signature__ = Signature(
        [Parameter("ctx", Parameter.KEYWORD_ONLY, annotation=context), *declared]
    )
    return handler


def _build_annotation(endpoint: Endpoint, row: Parameter, routing: Routing) -> Any:
    """Return the type of an argument, with its place in the request unless FastAPI infers the place."""
    if header := endpoint.header(row.name):
        return Annotated[row.annotation, Header(alias=header)]
    if endpoint.place(row.name) == "body" and is_form(row.annotation):
        return Annotated[row.annotation, Depends(_build_form_reader(row.annotation))]
    model = routing.body(row.annotation)
    if isinstance(model, type) and issubclass(model, BaseModel):
        model.model_config["defer_build"] = False  # FastAPI hides a warning about its alias only while it mounts
    return model


def _build_form_reader(model: type[BaseModel]) -> Callable[..., BaseModel]:
    """Return a function that FastAPI calls with the parts of a form, to build the model."""

    def build(**parts: Any) -> BaseModel:
        values = {name: _convert_uploads(part) for name, part in parts.items() if part is not None}
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise RequestValidationError([{**row, "loc": ("body", *row["loc"])} for row in error.errors()]) from None

    parts = [_build_form_parameter(name, field) for name, field in model.model_fields.items()]
    cast("Any", build).__signature__ = Signature(parts)
    return build


def _build_form_parameter(name: str, field: FieldInfo) -> Parameter:
    """Return a field of a form as a parameter for FastAPI."""
    files = {Upload: UploadFile, list[Upload]: list[UploadFile]}.get(cast("Any", field.annotation))
    facts = (files, File()) if files else (field.annotation, *field.metadata, Form())
    default = Parameter.empty if field.is_required() else field.get_default()
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=cast("Any", Annotated)[facts], default=default)


def _convert_uploads(part: Any) -> Any:
    """Return the files of a part as uploads, which are read from where they were kept when they came."""
    if isinstance(part, list):
        return [_convert_uploads(each) for each in part]
    if isinstance(part, StarletteUpload):
        return Upload(part.file, name=part.filename, content_type=part.content_type)
    return part
