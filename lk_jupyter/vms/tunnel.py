"""Connect standard input and output to a VM through a Jupyter server, as a ``ProxyCommand``.

``python -m lk_jupyter.vms.tunnel VM`` passes bytes over a web socket of the server extension. The address of the server
and the token are settings: other users of a machine can read the command lines of all processes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lk_jupyter._extras import library
from lk_jupyter.config.files import CONFIG_FILE, LOOPBACK, config_file
from lk_jupyter.config.settings import resolve, setting
from lk_jupyter.errors import ConnectionFailed, LkError, UsageError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_PIECE = 65536

#: Seconds for a connection.
_CONNECT_SECONDS = 15.0

#: Statuses of a server that doesn't accept the token, and of a hub that redirects to the sign-in.
_SIGNED_OUT = {302, 401, 403}
_REFUSED = "The Jupyter server {} refused the token in ssh_jump_token."


def main() -> int:
    """Pass bytes until either side ends; report an error in one line."""
    parser = argparse.ArgumentParser(prog="lk_jupyter.vms.tunnel", description=__doc__)
    parser.add_argument("vm", help="the id of the VM")
    parser.add_argument("-E", dest="log", type=Path, help="write errors to this file, not to standard error")
    options = parser.parse_args()
    try:
        with open_tunnel(options.vm) as connection:
            _pass_bytes(connection)
    except LkError as error:
        line = str(error).replace("\n", " ")
        if options.log:
            options.log.write_text(line, "utf-8")
        else:
            print(line, file=sys.stderr)  # noqa: T201 (a program)
        return 1
    return 0


@contextmanager
def open_tunnel(vm_id: str) -> Iterator[ClientConnection]:
    """Yield a web socket of the Jupyter server that leads to the SSH port of a VM. Raises LkError."""
    client, errors = library("websockets.sync.client", "vm", "A jump"), library("websockets", "vm", "A jump")
    server = (setting("ssh_jump") or "").rstrip("/")
    if "://" not in server:
        raise UsageError("No Jupyter server is set: %lk_config ssh_jump https://HOST/")
    address = urlsplit(server)
    try:
        with client.connect(
            f"{server.replace('http', 'ws', 1)}/lk/vms/{vm_id}/ssh",
            additional_headers={"Authorization": f"token {read_token()}"},
            compression=None,
            open_timeout=_CONNECT_SECONDS,
            proxy=None if address.hostname in LOOPBACK else True,
        ) as connection:
            yield connection
    except errors.InvalidStatus as error:
        raise ConnectionFailed(_explain_refusal(error.response, address.netloc)) from None
    except errors.InvalidURI:  # a hub redirects to the sign-in page
        raise ConnectionFailed(_REFUSED.format(address.netloc)) from None
    except (errors.WebSocketException, OSError) as error:
        raise ConnectionFailed(f"The Jupyter server {address.netloc} doesn't answer: {error}.") from None


def read_token() -> str:
    """Return the token of the Jupyter server. Raises UsageError without a token, or if other users can read it."""
    token, source = resolve("ssh_jump_token")
    advice = f"Set LK_SSH_JUMP_TOKEN, or add ssh_jump_token to '{config_file()}'."
    if not token:
        raise UsageError(f"The Jupyter server in ssh_jump needs a token. {advice}")
    if source == CONFIG_FILE and os.name == "posix" and config_file().stat().st_mode & 0o077:
        raise UsageError(f"Other users can read the token. Nothing was sent. Run: chmod 600 '{config_file()}'")
    return str(token)


def _explain_refusal(response: Any, host: str) -> str:
    """Return the reason of a server that opened no web socket."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(response.body)["detail"])
    if response.status_code in _SIGNED_OUT:
        return _REFUSED.format(host)
    return f"The Jupyter server {host} answered HTTP {response.status_code}. Install this version of lk_jupyter there."


def _pass_bytes(connection: ClientConnection) -> None:
    """Pass bytes in both directions until either side ends."""
    threading.Thread(target=_send_input, args=(connection,), daemon=True).start()
    for data in connection:
        sys.stdout.buffer.write(data if isinstance(data, bytes) else data.encode())
        sys.stdout.buffer.flush()


def _send_input(connection: ClientConnection) -> None:
    while data := os.read(0, _PIECE):
        connection.send(data)
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
