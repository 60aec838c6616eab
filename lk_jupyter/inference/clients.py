"""The stock clients of OpenAI and Anthropic, signed in here and ready to use.

They sign each request with the session's own key, which is renewed when it ends and which no attribute of theirs
holds: what stands there in its place is a word.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, overload

from lk_jupyter.api._endpoint import IRIS, OPENAI
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.session import Session, current

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI

#: Stands where the clients want a key.
IN_PLACE_OF_THE_KEY = "signed-by-lk_jupyter"


@overload
def openai(
    *,
    deployment: str | None = None,
    session: Session | None = None,
    asynchronous: Literal[False] = False,
    **options: Any,
) -> OpenAI: ...


@overload
def openai(
    *, deployment: str | None = None, session: Session | None = None, asynchronous: Literal[True], **options: Any
) -> AsyncOpenAI: ...


def openai(
    *, deployment: str | None = None, session: Session | None = None, asynchronous: bool = False, **options: Any
) -> Any:
    """Return a client of the package openai for the shared models, or for a deployment by its id.

    ``options`` are those of ``openai.OpenAI``, such as ``max_retries``; with ``asynchronous`` it is
    an ``openai.AsyncOpenAI``. Raises UsageError when the package is missing.
    """
    make = _client("openai", "OpenAI", session, deployment, asynchronous=asynchronous)
    return make(IRIS + OPENAI if deployment else OPENAI, **{"api_key": IN_PLACE_OF_THE_KEY, **options})


@overload
def anthropic(
    *,
    deployment: str | None = None,
    session: Session | None = None,
    asynchronous: Literal[False] = False,
    **options: Any,
) -> Anthropic: ...


@overload
def anthropic(
    *, deployment: str | None = None, session: Session | None = None, asynchronous: Literal[True], **options: Any
) -> AsyncAnthropic: ...


def anthropic(
    *, deployment: str | None = None, session: Session | None = None, asynchronous: bool = False, **options: Any
) -> Any:
    """Return a client of the package anthropic for the shared models, or for a deployment by its id.

    ``options`` are those of ``anthropic.Anthropic``, such as ``max_retries``; with ``asynchronous`` it is
    an ``anthropic.AsyncAnthropic``. Raises UsageError when the package is missing.
    """
    make = _client("anthropic", "Anthropic", session, deployment, asynchronous=asynchronous)
    return make(f"{IRIS}/anthropic", **{"auth_token": IN_PLACE_OF_THE_KEY, "api_key": None, **options})


def _client(package: str, name: str, session: Session | None, deployment: str | None, *, asynchronous: bool) -> Any:
    """Return what makes a client for a path of the server."""
    library = _library(package)
    chosen = session or current()
    pinned = {"X-Deployment-ID": deployment} if deployment else {}
    http = library.DefaultAsyncHttpxClient if asynchronous else library.DefaultHttpxClient
    kind = getattr(library, f"Async{name}" if asynchronous else name)

    def sign(request: Any) -> Any:
        """Sign a request, of whichever library the client sends it with."""
        chosen.client.sign(request.headers, keys_apart=package == "anthropic")
        return request

    def make(path: str, *, default_headers: dict[str, str] | None = None, **options: Any) -> Any:
        return kind(
            base_url=chosen.client.address(path),
            http_client=http(auth=sign, trust_env=not chosen.is_local),
            default_headers={**chosen.client.org_headers, **pinned, **(default_headers or {})},
            **options,
        )

    return make


def _library(package: str) -> ModuleType:
    try:
        return import_module(package)
    except ImportError:
        raise UsageError(f'This needs the package {package}: %pip install "lk-jupyter[{package}]"') from None
