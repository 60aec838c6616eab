"""A declaration of the API plus a handler becomes a route.

A handler names the arguments of the declaration and, first, ``ctx``: a Context, or an AnonymousContext
where the declaration asks for no token. A plain function runs in a thread, a coroutine function
in the event loop. Path, headers, body, query, limits, status and answer are the declaration's; a
body with files comes as its model, too.
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
    """Where operations are, what handles them, and what they ask for."""

    def places(self, endpoint: Endpoint) -> Iterable[tuple[str, str]]:
        """Return method and path of every route of an operation."""

    def handler(self, endpoint: Endpoint, usual: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function that handles an operation."""

    def dependencies(self, endpoint: Endpoint) -> list[Any]:
        """Return the requirements for callers that the declaration doesn't have."""

    def body(self, model: Any) -> Any:
        """Return the model of a body."""


def implements(method: Callable[..., Any], *variants: Callable[..., Any]) -> Callable[[Handler], Handler]:
    """Make the function below the local cloud's behaviour of ``Group.method``.

    ``variants`` are other declarations of the same operation, such as the one whose answer is a stream.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(map(endpoint_of, (method, *variants)), handler))
        return handler

    return register


def mount(app: FastAPI, routing: Routing) -> None:
    """Add a route for every operation that has a handler; of its declarations, the first describes it."""
    operations: dict[tuple[str, str], Endpoint] = {}
    for endpoint in HANDLERS:
        operations.setdefault((endpoint.method, endpoint.path), endpoint)
    for endpoint in sorted(operations.values(), key=_placeholders):
        handler = _with_signature(routing.handler(endpoint, HANDLERS[endpoint]), endpoint, routing)
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


def _placeholders(endpoint: Endpoint) -> list[bool]:
    """Sort key that puts ``/execution/streaming`` before ``/execution/{execution_id}``."""
    return [part.startswith("{") for part in endpoint.path.split("/")]


def _with_signature(handler: Callable[..., Any], endpoint: Endpoint, routing: Routing) -> Callable[..., Any]:
    """Give the handler the signature that FastAPI reads: the declaration's, and the context."""
    context = Annotated[Context, Depends(caller)] if endpoint.auth else Annotated[AnonymousContext, Depends(visitor)]
    declared = [
        row.replace(kind=Parameter.KEYWORD_ONLY, annotation=_read(endpoint, row, routing))
        for row in endpoint.signature.parameters.values()
    ]
    cast("Any", handler).__signature__ = Signature(
        [Parameter("ctx", Parameter.KEYWORD_ONLY, annotation=context), *declared]
    )
    return handler


def _read(endpoint: Endpoint, row: Parameter, routing: Routing) -> Any:
    """Return the type of an argument and, where FastAPI would not guess it, where it travels."""
    if header := endpoint.header(row.name):
        return Annotated[row.annotation, Header(alias=header)]
    if endpoint.place(row.name) == "body" and is_form(row.annotation):
        return Annotated[row.annotation, Depends(_form(row.annotation))]
    return routing.body(row.annotation)


def _form(model: type[BaseModel]) -> Callable[..., BaseModel]:
    """Return what FastAPI calls with the parts of a form, to make the one object that they are."""

    def build(**parts: Any) -> BaseModel:
        values = {name: _uploads(part) for name, part in parts.items() if part is not None}
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise RequestValidationError([{**row, "loc": ("body", *row["loc"])} for row in error.errors()]) from None

    parts = [_part(name, field) for name, field in model.model_fields.items()]
    cast("Any", build).__signature__ = Signature(parts)
    return build


def _part(name: str, field: FieldInfo) -> Parameter:
    """Return a field of a form as FastAPI reads it."""
    files = {Upload: UploadFile, list[Upload]: list[UploadFile]}.get(cast("Any", field.annotation))
    facts = (files, File()) if files else (field.annotation, *field.metadata, Form())
    default = Parameter.empty if field.is_required() else field.get_default()
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=cast("Any", Annotated)[facts], default=default)


def _uploads(part: Any) -> Any:
    """Return the files of a part as uploads, which are read from where they were kept when they came."""
    if isinstance(part, list):
        return [_uploads(each) for each in part]
    if isinstance(part, StarletteUpload):
        return Upload(part.file, name=part.filename, content_type=part.content_type)
    return part
