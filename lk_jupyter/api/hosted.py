"""A Jupyter server on a port of a run: its availability and its kernels.

The server isn't part of the cloud's API: the server has a separate password, and never receives the account's key. As
in ``_http``, a failure becomes an error of ours outside of the ``except`` block: httpx's locals contain the password.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx

from lk_jupyter.api._body import ENCODINGS, read_body
from lk_jupyter.api._connection import NO_PROXY
from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import ConnectionFailed, InvalidResponse
from lk_jupyter.protocol.json_limits import load_json

#: Seconds for an answer; the start of a kernel may take longest.
PATIENCE = 10.0
_START_PATIENCE = 60.0


def answers(url: str, socket: str = "", host: str = "") -> bool:
    """Return whether a program behind the address of a port, or behind a Unix socket, answers HTTP.

    ``host`` is the name of a port that only answers to its name.
    """
    headers = {"Host": f"{host}:{httpx.URL(url).port}"} if host else None
    transport: dict[str, Any] = (
        {"transport": httpx.HTTPTransport(uds=socket)}
        if socket
        else {"mounts": NO_PROXY, "trust_env": uses_proxies(url)}
    )
    try:
        with (
            httpx.Client(timeout=PATIENCE, **transport) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            return response.status_code < 500
    except httpx.HTTPError:
        return False


class HostedServer:
    """A Jupyter server at ``url``, which ends with a slash, with a sign-in by the form of the login page.

    No address contains the password, and after the sign-in only a cookie is sent.
    """

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._password = password
        self._http = httpx.Client(
            base_url=url, timeout=PATIENCE, mounts=NO_PROXY, headers=ENCODINGS, trust_env=uses_proxies(url)
        )
        self._is_signed_in = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __repr__(self) -> str:
        return f"HostedServer({self.url!r})"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that sign a web socket in, which are a secret.

        Raises ConnectionFailed, InvalidResponse.
        """
        if not self._sign_in():
            raise ConnectionFailed(f"The Jupyter server at {self.url} doesn't answer.")
        return {"Cookie": self._http.build_request("GET", "api/kernels").headers.get("cookie", "")}

    def is_ready(self) -> bool:
        """Return whether the server answers and accepts the password.

        Raises InvalidResponse if the server refuses the password, or needs none.
        """
        try:
            return self._sign_in() and _parse_id_list(self._send_without_sign_in("GET", "api/kernels")) is not None
        except ConnectionFailed:
            return False
        except httpx.HTTPError:
            return False

    def _sign_in(self) -> bool:
        """Sign in once; return False while no Jupyter server answers.

        Raises ConnectionFailed, and InvalidResponse if the server refuses the password, or needs none.
        """
        with self._lock:
            if self._is_signed_in:
                return True
            problem = ""
            try:
                self._is_signed_in = self._asks_for_password() and self._post_password()
            except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError after a concurrent close
                problem = type(error).__name__
            if problem:
                raise ConnectionFailed(f"The Jupyter server at {self.url} doesn't answer ({problem}).")
            return self._is_signed_in

    def _asks_for_password(self) -> bool:
        """Return whether a Jupyter server refuses requests without a sign-in; False while another program answers."""
        response = self._send_without_sign_in("GET", "api/kernels")
        if response.is_success and _parse_id_list(response) is not None:
            raise InvalidResponse(
                f"The Jupyter server at {self.url} has no password, because its image ignores the password option. "
                "Nothing was sent to the server. Use another image: --image quay.io/jupyter/base-notebook:latest"
            )
        return response.status_code in {401, 403}

    def _post_password(self) -> bool:
        """Send the form of the login page; return False if the page is no login page of Jupyter."""
        if not self._send_without_sign_in("GET", "login").is_success or "_xsrf" not in self._http.cookies:
            return False
        response = self._send_without_sign_in(
            "POST", "login", data={"password": self._password, "_xsrf": self._http.cookies["_xsrf"]}
        )
        if response.status_code == 401 or (response.is_redirect and self._is_refused()):
            raise InvalidResponse(f"The Jupyter server at {self.url} doesn't accept the password of its run.")
        return response.is_redirect

    def _is_refused(self) -> bool:
        return self._send_without_sign_in("GET", "api/kernels").status_code in {401, 403}

    def start_kernel(self, name: str | None = None) -> str:
        """Start a kernel, by default of the server's own kind, and return its id. Raises ReadOnlyMode."""
        refuse_if_read_only("spends")
        body = {"name": name} if name else {}
        answer = self._send("POST", "api/kernels", body, patience=_START_PATIENCE)
        kernel = _parse_json(answer)
        if not isinstance(kernel, dict) or "id" not in kernel:
            raise self._build_kernel_error("POST api/kernels")
        return str(kernel["id"])

    def has_kernel(self, kernel: str) -> bool:
        """Return whether the server still has this kernel."""
        return any(entry["id"] == kernel for entry in self.kernels())

    def _build_kernel_error(self, request: str) -> InvalidResponse:
        return InvalidResponse(
            f"The Jupyter server at {self.url} answered {request}, but the answer contains no kernel."
        )

    def kernels(self) -> list[dict[str, Any]]:
        """Return the kernels, each with ``id``, ``execution_state`` and ``last_activity``.

        This request is no activity.
        """
        kernels = _parse_id_list(self._send("GET", "api/kernels?no_track_activity=1"))
        if kernels is None:
            raise self._build_kernel_error("GET api/kernels")
        return kernels

    def interrupt(self, kernel: str) -> None:
        """Interrupt the work of a kernel."""
        self._send("POST", f"api/kernels/{quote(kernel)}/interrupt")

    def restart(self, kernel: str) -> None:
        """Restart a kernel; its variables are deleted. Raises ReadOnlyMode."""
        refuse_if_read_only("deletes")
        self._send("POST", f"api/kernels/{quote(kernel)}/restart", patience=_START_PATIENCE)

    def channels_url(self, kernel: str, session: str) -> str:
        """Return the address of a kernel's web socket."""
        return f"ws{self.url.removeprefix('http')}api/kernels/{quote(kernel)}/channels?session_id={quote(session)}"

    def _send_without_sign_in(
        self, method: str, path: str, *, timeout: float = PATIENCE, **content: Any
    ) -> httpx.Response:
        request = self._http.build_request(method, path, timeout=timeout, **content)
        return read_body(self._http.send(request, stream=True))

    def _send(self, method: str, path: str, body: Any = None, patience: float = PATIENCE) -> httpx.Response:
        if not self._sign_in():
            raise ConnectionFailed(f"The Jupyter server at {self.url} doesn't answer.")
        xsrf = {"X-XSRFToken": self._http.cookies.get("_xsrf") or ""}
        try:
            answer = self._send_without_sign_in(method, path, json=body, headers=xsrf, timeout=patience)
        except httpx.HTTPError as error:
            problem = type(error).__name__
        else:
            if answer.status_code in {502, 503, 504}:  # the server doesn't listen yet
                problem = f"HTTP {answer.status_code}"
            elif answer.is_success:
                return answer
            else:
                self._is_signed_in = answer.status_code not in {401, 403}  # the next request signs in again
                raise InvalidResponse(
                    f"The Jupyter server at {self.url} refused {method} {path} (HTTP {answer.status_code})."
                )
        raise ConnectionFailed(f"The Jupyter server at {self.url} doesn't answer ({problem}).")


def _parse_json(answer: httpx.Response) -> Any:
    """Return the JSON of an answer; None for other content."""
    with suppress(ValueError, RecursionError):
        return load_json(answer.content)
    return None


def _parse_id_list(answer: httpx.Response) -> list[dict[str, Any]] | None:
    """Return a list of objects with an id; None for other content."""
    content = _parse_json(answer)
    is_list = isinstance(content, list) and all(isinstance(each, dict) and "id" in each for each in content)
    return content if is_list else None
