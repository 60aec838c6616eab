"""The web application: the groups with behaviour, mounted, and errors in the API's form."""

from __future__ import annotations

import logging
from http import HTTPStatus
from importlib import import_module
from pkgutil import iter_modules

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

from lk_jupyter.localcloud import routes
from lk_jupyter.localcloud._mount import mount
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.faults import Faults
from lk_jupyter.localcloud.models import envelope
from lk_jupyter.localcloud.models.anthropic import build_error_body
from lk_jupyter.localcloud.oversize import Oversize
from lk_jupyter.localcloud.pages import checkout, cli_login, description, identity
from lk_jupyter.localcloud.recorded import Recording
from lk_jupyter.localcloud.replay import Replay
from lk_jupyter.localcloud.routes import anthropic, health, serverless
from lk_jupyter.localcloud.runs.ports import Ports
from lk_jupyter.localcloud.strange import Strange
from lk_jupyter.localcloud.strict_json import StrictRoute

#: The import of a group registers its handlers.
GROUPS = tuple(import_module(f"{routes.__name__}.{each.name}") for each in iter_modules(routes.__path__))


def create_app(cloud: Cloud, strange: Strange, recording: Recording | None = None) -> ASGIApp:
    """Return the application of a cloud, with the changes of the switches, or the behavior in a recording."""
    app = build_routes(strange)
    app.state.cloud = cloud
    if cloud.options.storage_bytes is not None:
        app.add_middleware(Oversize, most=cloud.options.storage_bytes)
    served: ASGIApp = Ports(strange.wrap_application(app), cloud)
    if recording:
        served = Replay(served, recording, cloud.options.clock_speed)
    return Faults(served) if cloud.options.faults else served


def build_routes(strange: Strange) -> FastAPI:
    """Return an application with all routes, which is no cloud's yet."""
    app = FastAPI(title="Local cloud", version=health.VERSION, openapi_url=None, redirect_slashes=False)
    app.router.route_class = StrictRoute
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_exception_handler(envelope.Refusal, _answer_error)
    app.add_exception_handler(Exception, _answer_failure)
    mount(app, strange)
    app.include_router(anthropic.router)
    app.include_router(serverless.router)
    app.include_router(cli_login.pages)
    app.include_router(checkout.pages)
    app.include_router(identity.pages)
    app.include_router(description.pages)
    return app


async def _answer_invalid_request(request: Request, error: Exception) -> JSONResponse:
    """Answer 422 with place, message and type; never with the input, which may contain a secret."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 (FastAPI's own type is too wide)
    rows = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in error.errors()]
    if envelope.speaks_openai(request.url.path) or envelope.is_refused_by_model(rows):
        return _answer_refusal(request, envelope.first_refusal(rows))
    return JSONResponse({"detail": rows}, 422)


async def _answer_error(request: Request, error: Exception) -> Response:
    """Answer in the form that the caller's kind of client reads."""
    if isinstance(error, envelope.Refusal):
        return _answer_refusal(request, error)
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        error.headers = {"Allow": _list_allowed_methods(request, (error.headers or {}).get("Allow", ""))}
    if envelope.speaks_openai(request.url.path):
        answer = _answer_refusal(request, envelope.Refusal(error.status_code, error.detail))
        answer.headers.update(error.headers or {})
        return answer
    return await http_exception_handler(request, error)


def _list_allowed_methods(request: Request, named: str) -> str:
    """Return the methods of an address; ``named`` are the methods of the first route that the framework reports."""
    mounted = [route for route in request.app.routes if isinstance(route, APIRoute)]
    path = next((route.path for route in mounted if route.matches(request.scope)[0] != Match.NONE), None)
    methods = {method for route in mounted if route.path == path for method in route.methods or ()}
    return ", ".join(sorted(methods)) or named


def _answer_refusal(request: Request, refusal: envelope.Refusal) -> JSONResponse:
    if request.url.path.startswith(anthropic.MESSAGES):
        return JSONResponse(build_error_body(refusal), refusal.status)
    return envelope.build_response(refusal)


async def _answer_failure(_: Request, error: Exception) -> JSONResponse:
    logging.getLogger("uvicorn.error").error("unexpected", exc_info=error)
    return JSONResponse({"detail": f"The local cloud failed: {type(error).__name__}. See its log."}, 500)
