"""A Jupyter server on a port of a run: whether it answers, and its kernels.

It is no part of the cloud's API: its token is its own, and the account's key never goes there. As in
``_http``, a failure becomes an error of ours outside of the ``except`` block: httpx's locals hold the token.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import ConnectionFailed, InvalidResponse

#: A proxy is for the world outside, never for this machine.
_NO_PROXY: dict[str, httpx.BaseTransport | None] = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))

#: Seconds for one answer; starting a kernel may take longer than all else.
PATIENCE = 10.0
_START_PATIENCE = 60.0


def answers(url: str) -> bool:
    """Whether something behind this address of a port answers HTTP."""
    try:
        with httpx.Client(timeout=PATIENCE, mounts=_NO_PROXY) as client:
            return client.get(url).status_code < 500
    except httpx.HTTPError:
        return False


class HostedServer:
    """A Jupyter server at ``url``, which ends with a slash."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token
        self._http = httpx.Client(base_url=url, headers=self.headers, timeout=PATIENCE, mounts=_NO_PROXY)

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __repr__(self) -> str:
        return f"HostedServer({self.url!r})"

    @property
    def signed_url(self) -> str:
        """The address that signs a browser in; it is a secret."""
        return f"{self.url}?{urlencode({'token': self._token})}"

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request in; it is a secret."""
        return {"Authorization": f"token {self._token}"}

    def is_ready(self) -> bool:
        """Whether the server answers, to this token. Raises InvalidResponse when it does not take it."""
        try:
            answer = self._http.get("api/kernels")
        except httpx.HTTPError:
            return False
        if answer.status_code in {401, 403}:
            raise InvalidResponse(f"The Jupyter server at {self.url} doesn't accept the token of its run.")
        return answer.status_code == 200 and _list_of_ids(answer) is not None  # a page says that it is being started

    def start_kernel(self, name: str | None = None) -> str:
        """Start a kernel, by default of the server's own kind, and return its id. Raises ReadOnlyMode."""
        refuse_if_read_only("spends")
        body = {"name": name} if name else {}
        answer = self._send("POST", "api/kernels", body, patience=_START_PATIENCE)
        made = _json(answer)
        if not isinstance(made, dict) or "id" not in made:
            raise self._odd("POST api/kernels")
        return str(made["id"])

    def has_kernel(self, kernel: str) -> bool:
        """Whether the server knows this kernel still."""
        return any(found["id"] == kernel for found in self.kernels())

    def _odd(self, asked: str) -> InvalidResponse:
        return InvalidResponse(f"The Jupyter server at {self.url} answered {asked} with something else than a kernel.")

    def kernels(self) -> list[dict[str, Any]]:
        """Return the kernels, each with ``id``, ``execution_state`` and ``last_activity``; asking is no activity."""
        found = _list_of_ids(self._send("GET", "api/kernels?no_track_activity=1"))
        if found is None:
            raise self._odd("GET api/kernels")
        return found

    def interrupt(self, kernel: str) -> None:
        """Interrupt what a kernel does."""
        self._send("POST", f"api/kernels/{quote(kernel)}/interrupt")

    def restart(self, kernel: str) -> None:
        """Restart a kernel; its variables are deleted. Raises ReadOnlyMode."""
        refuse_if_read_only("deletes")
        self._send("POST", f"api/kernels/{quote(kernel)}/restart", patience=_START_PATIENCE)

    def channels_url(self, kernel: str, session: str) -> str:
        """Return the address of a kernel's web socket."""
        return f"ws{self.url.removeprefix('http')}api/kernels/{quote(kernel)}/channels?session_id={quote(session)}"

    def _send(self, method: str, path: str, body: Any = None, patience: float = PATIENCE) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body, timeout=patience)
        except httpx.HTTPError as error:
            problem = type(error).__name__
        else:
            if answer.status_code in {502, 503, 504}:  # it does not listen yet
                problem = f"HTTP {answer.status_code}"
            elif answer.is_success:
                return answer
            else:
                raise InvalidResponse(
                    f"The Jupyter server at {self.url} refused {method} {path} (HTTP {answer.status_code})."
                )
        raise ConnectionFailed(f"The Jupyter server at {self.url} doesn't answer ({problem}).")


def _json(answer: httpx.Response) -> Any:
    """Return what an answer holds as JSON; None where it is none."""
    with suppress(ValueError, RecursionError):
        return answer.json()
    return None


def _list_of_ids(answer: httpx.Response) -> list[dict[str, Any]] | None:
    """Return a list of things that have an id; None where it is none."""
    found = _json(answer)
    is_list = isinstance(found, list) and all(isinstance(each, dict) and "id" in each for each in found)
    return found if is_list else None
