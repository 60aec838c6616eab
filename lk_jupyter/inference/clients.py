"""Signed-in versions of OpenAI's and Anthropic's own clients.

Each request is signed with the session's key, which is renewed when it expires and which no attribute of a client
contains: a placeholder takes its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, overload

from lk_jupyter._extras import library
from lk_jupyter.api._endpoint import EXTERNAL, IRIS, OPENAI
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.session import Session, current

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI

#: Placeholder for the key that the clients require.
PLACEHOLDER_KEY = "signed-by-lk_jupyter"

#: Paths that OpenAI's clients expect below the address of the models, and this API has below its own.
_BATCHES = re.compile(rf"(?<={OPENAI})/(?:files|batches)(?![^/?]).*")


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
    """Return a client of the package openai, signed in, for the shared models or for a deployment.

    Args:
        deployment: Id of a deployment. Default: the shared models.
        session: Session to use. Default: the configured session.
        asynchronous: Return ``openai.AsyncOpenAI``.
        options: The options of ``openai.OpenAI``, such as ``max_retries``.

    Returns:
        A ``openai.OpenAI`` that contains no key: each request is signed when it is sent.

    Raises:
        UsageError: The package openai is missing.

    Cost: tokens of prompt and answer; ``%lk_models`` lists prices.

    Source: ``POST /chat/completions``

    Example:
        >>> hello = [{"role": "user", "content": "hello"}]
        >>> with lk_jupyter.openai() as openai:
        ...     answer = openai.chat.completions.create(model="local/echo", messages=hello)
        >>> answer.choices[0].message.content
        '...hello'
    """
    make = _build_client_factory("openai", "OpenAI", session, deployment, asynchronous=asynchronous)
    return make(IRIS + OPENAI if deployment else OPENAI, **{"api_key": PLACEHOLDER_KEY, **options})


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
    """Return a client of the package anthropic, signed in, for the shared models or for a deployment.

    Args:
        deployment: Id of a deployment. Default: the shared models.
        session: Session to use. Default: the configured session.
        asynchronous: Return ``anthropic.AsyncAnthropic``.
        options: The options of ``anthropic.Anthropic``, such as ``max_retries``.

    Returns:
        A ``anthropic.Anthropic`` that contains no key: each request is signed when it is sent.

    Raises:
        UsageError: The package anthropic is missing.

    Cost: tokens of prompt and answer; ``%lk_models`` lists prices.

    Source: ``POST /v1/messages``

    Example:
        >>> hello = [{"role": "user", "content": "hello"}]
        >>> with lk_jupyter.anthropic() as anthropic:
        ...     answer = anthropic.messages.create(model="local/echo", messages=hello, max_tokens=50)
        >>> answer.content[0].text
        '...hello'
    """
    make = _build_client_factory("anthropic", "Anthropic", session, deployment, asynchronous=asynchronous)
    return make(f"{IRIS}/anthropic", **{"auth_token": PLACEHOLDER_KEY, "api_key": None, **options})


def _build_client_factory(
    package: str, name: str, session: Session | None, deployment: str | None, *, asynchronous: bool
) -> Any:
    """Return a function that creates a client for a path of the server."""
    stock = library(package, extra=package)
    chosen = session or current()
    pinned = {"X-Deployment-ID": deployment} if deployment else {}
    http = stock.DefaultAsyncHttpxClient if asynchronous else stock.DefaultHttpxClient
    kind = getattr(stock, f"Async{name}" if asynchronous else name)

    def sign(request: Any) -> Any:
        """Sign a request of any HTTP library of the clients; requests for files and batches get another address."""
        refuse_if_read_only("reads" if request.method == "GET" else "spends")
        if match := _BATCHES.search(str(request.url)):
            request.url = type(request.url)(chosen.client.address(chosen.assumptions.paths(EXTERNAL + match[0])[0]))
            request.headers["Host"] = request.url.netloc.decode("ascii")
        if request.method == "POST":
            chosen.gate.reserve_foreign(request.url.path, request.read, pinned.get("X-Deployment-ID"))
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
