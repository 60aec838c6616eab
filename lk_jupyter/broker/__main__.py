"""``python -m lk_jupyter.broker``: serve a broker, issue, list and revoke child keys, and list their spending."""

from __future__ import annotations

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lk_jupyter._encoding import accept_every_sign
from lk_jupyter._extras import library
from lk_jupyter.broker.grants import BILLION, GRANT_FIELDS, PERIODS
from lk_jupyter.errors import LkError, UsageError

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute a command and return the exit code."""
    accept_every_sign()
    try:
        parsed = _build_parser().parse_args(arguments)
        return int(parsed.run(parsed))
    except LkError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


def _serve(parsed: argparse.Namespace) -> int:
    library("uvicorn", "broker", "The broker")
    from lk_jupyter.broker.server import ListenOptions, serve  # noqa: PLC0415 (the other commands need no server)

    if parsed.host not in _LOOPBACK and not (parsed.certificate and parsed.private_key):
        raise UsageError(
            f"A broker that listens on {parsed.host} must receive keys over TLS. Nothing was started. Add "
            "--certificate and --private-key."
        )
    key = _read_key(parsed.key_file)
    budgets, service, hub_url = None, None, os.environ.get("JUPYTERHUB_API_URL", "")
    if parsed.hub_budgets:
        from lk_jupyter.broker.hub import HubBudgets, HubService  # noqa: PLC0415 (the other commands need no hub)

        if not hub_url:
            raise UsageError("--hub-budgets works only in a service of JupyterHub, but JUPYTERHUB_API_URL isn't set.")
        budgets, service = HubBudgets.read(parsed.hub_budgets), HubService.read(os.environ)
    options = ListenOptions(
        parsed.port, parsed.margin, parsed.host, parsed.certificate, parsed.private_key, hub_url, budgets, service,
        dict(parsed.prices),
    )  # fmt: skip
    serve(parsed.data.expanduser().absolute(), parsed.upstream, key, options)
    return 0


def _read_key(file: Path | None) -> str:
    """Return the organization's key from a file or a line of stdin: never from a command line or the environment."""
    try:
        key = (file.read_text(encoding="utf-8") if file else sys.stdin.readline()).strip()
    except OSError as error:
        raise UsageError(f"Can't read '{file}' ({error.strerror}). Nothing was started.") from None
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError("No key in the file or in the first line of stdin. Nothing was started.")
    return key


def _issue_key(parsed: argparse.Namespace) -> int:
    fields = {name: value for name in GRANT_FIELDS if (value := getattr(parsed, name)) is not None}
    print(json.dumps(_send_request(parsed.data, "POST", "/broker/keys", fields)))  # noqa: T201 (the key is shown once)
    return 0


def _revoke_key(parsed: argparse.Namespace) -> int:
    print(json.dumps(_send_request(parsed.data, "DELETE", f"/broker/keys/{parsed.id}")))  # noqa: T201
    return 0


def _list_keys(parsed: argparse.Namespace) -> int:
    for row in _send_request(parsed.data, "GET", "/broker/keys"):
        print(json.dumps(row))  # noqa: T201
    return 0


def _print_spending(parsed: argparse.Namespace) -> int:
    from lk_jupyter.text.terminal import plain  # noqa: PLC0415 (the other commands print JSON)

    if parsed.by_key:
        query = f"?{urlencode({'month': parsed.month})}" if parsed.month else ""
        sys.stdout.write(plain(_send_request(parsed.data, "GET", f"/broker/spending.csv{query}")))
        return 0
    from lk_jupyter.broker.spending import RUN_COLUMNS, write_csv  # noqa: PLC0415 (the other commands need no CSV)

    rows = (row for row in _send_request(parsed.data, "GET", "/broker/runs") if row["started"].startswith(parsed.month))
    sys.stdout.write(plain(write_csv(RUN_COLUMNS, rows)))
    return 0


def _send_request(data: Path, method: str, path: str, body: Any = None) -> Any:
    """Send a request of the operator to the broker of a data folder. Raises UsageError."""
    from lk_jupyter.broker.operator import send_request  # noqa: PLC0415 (it needs the HTTP client)

    return send_request(data.expanduser().absolute(), method, path, body)


def _read_price(text: str) -> tuple[str, int]:
    """Return a machine type and its price in billionths per hour."""
    machine, _, amount = text.partition("=")
    try:
        price = Decimal(amount)
    except InvalidOperation:
        price = Decimal(0)
    if not machine or not price.is_finite() or not 0 < price < BILLION:
        raise argparse.ArgumentTypeError(f"a price looks like cpu=0.10, got '{text}'")
    return machine, math.ceil(price * BILLION)


def _split_words(text: str) -> list[str]:
    return text.split(",")


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lk_jupyter.broker",
        description="Serve the cloud's API with a key that only this process has, and limit what child keys may spend.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True, help="Folder of the ledger, which only its owner can read.")

    serve = commands.add_parser("serve", parents=[common], help="Serve until a signal ends the process.")
    serve.set_defaults(run=_serve)
    serve.add_argument("--upstream", required=True, metavar="URL", help="Address of the cloud.")
    serve.add_argument("--key-file", type=Path, metavar="FILE", help="File with the key. Default: a line of stdin.")
    serve.add_argument("--port", type=int, default=0, help="Port. 0 finds a free port. Default: 0.")
    serve.add_argument("--host", default="127.0.0.1", help="Address to listen on. Default: 127.0.0.1.")
    serve.add_argument("--certificate", type=Path, metavar="FILE", help="TLS certificate, for another --host.")
    serve.add_argument("--private-key", type=Path, metavar="FILE", help="Private key of the certificate.")
    serve.add_argument(
        "--margin", type=int, default=60, metavar="SECONDS",
        help="Seconds to reserve in addition to the time limit, for queue, installation and rounding. Default: 60.",
    )  # fmt: skip

    serve.add_argument(
        "--price", dest="prices", type=_read_price, action="append", default=[], metavar="MACHINE=CREDITS",
        help="Price per hour of a machine type without a published price, such as cpu=0.10. May be repeated.",
    )  # fmt: skip
    serve.add_argument(
        "--hub-budgets", dest="hub_budgets", type=Path, metavar="FILE",
        help="For a service of JupyterHub: JSON file with the budgets of users and groups.",
    )  # fmt: skip

    grant = commands.add_parser("grant", parents=[common], help="Issue a child key, and print it once.")
    grant.set_defaults(run=_issue_key)
    grant.add_argument("--credits", required=True, help="Maximum credits of all runs of the key together.")
    grant.add_argument("--minutes", help="Maximum minutes of all runs of the key together.")
    grant.add_argument(
        "--machines",
        type=_split_words,
        metavar="A,B",
        help="Machine types and models that the key may use, such as gpu.a100,cpu.",
    )
    grant.add_argument("--parallel", type=int, help="Maximum active runs at a time.")
    grant.add_argument("--ends-in", dest="ends_in", type=float, metavar="SECONDS", help="Seconds until it ends.")
    grant.add_argument("--period", choices=PERIODS, help="Reset the used credits and minutes each week or month.")
    grant.add_argument(
        "--upload-gib", dest="upload_gib", metavar="GIB", help="GiB that the key may upload. Default: 10."
    )
    grant.add_argument(
        "--scopes",
        type=_split_words,
        metavar="A,B",
        help="Among runs, files, models, vms, lease, bucket, secrets. Default: runs,files.",
    )
    grant.add_argument("--name", help="Name in lists.")
    grant.add_argument("--project", help="Project of the key and its child keys in spending reports.")

    revoke = commands.add_parser("revoke", parents=[common], help="Revoke a child key, and abort its runs.")
    revoke.set_defaults(run=_revoke_key)
    revoke.add_argument("id", help="Id of the key.")

    spending = commands.add_parser("spending", parents=[common], help="Print the runs of all keys as CSV.")
    spending.set_defaults(run=_print_spending)
    spending.add_argument("--month", default="", metavar="YYYY-MM", help="Only runs of this month, in UTC.")
    spending.add_argument(
        "--by-key", dest="by_key", action="store_true",
        help="Print the sums of a month by user, project and key. Default month: the current one.",
    )  # fmt: skip

    listing = commands.add_parser("list", parents=[common], help="List the child keys, and what each has used.")
    listing.set_defaults(run=_list_keys)
    return parser


if __name__ == "__main__":
    sys.exit(main())
