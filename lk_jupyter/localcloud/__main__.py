"""``python -m lk_jupyter.localcloud``: start a local cloud, or add a user."""

from __future__ import annotations

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

import argparse
import gc
import getpass
import json
import sys
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from lk_jupyter._encoding import accept_every_sign
from lk_jupyter._extras import library
from lk_jupyter.errors import LkError
from lk_jupyter.localcloud.billing.catalogue import GPUS, PRICES
from lk_jupyter.localcloud.options import MOST_CREDITS, MOST_SPEED, SWITCHES, CloudOptions


def main() -> int:
    """Start a cloud and serve until a signal arrives, or add a user; return the exit code."""
    accept_every_sign()
    try:
        library("uvicorn", "local", "The local cloud")
        arguments = vars(_build_parser().parse_args())
        data, port, email = arguments.pop("data"), arguments.pop("port"), arguments.pop("add_user")
        arguments["strange"] = tuple(chain.from_iterable(arguments["strange"]))
        data, options = data.expanduser().absolute(), CloudOptions(**arguments)
        _add_user(data, options, email) if email else _serve_cloud(data, port, options)
    except LkError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _serve_cloud(data: Path, port: int, options: CloudOptions) -> None:
    gc.disable()  # until the server has started: objects of the start live as long as the server
    from lk_jupyter.localcloud.server import serve  # noqa: PLC0415 (--help answers without it)

    serve(data, port, options)


def _add_user(data: Path, options: CloudOptions, email: str) -> None:
    from lk_jupyter.localcloud.accounts.signup import sign_up  # noqa: PLC0415

    print(json.dumps(sign_up(data, options, email, _read_password(email))))  # noqa: T201


def _read_password(email: str) -> str:
    """Prompt for a password without showing the input; without a terminal, read a line of stdin."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Password for {email}: ")
    return sys.stdin.readline().rstrip("\r\n")


def _build_parser() -> argparse.ArgumentParser:
    from lk_jupyter.localcloud.runs.engine import PROGRAMS  # noqa: PLC0415 (it needs packages that may be missing)

    parser = argparse.ArgumentParser(
        prog="python -m lk_jupyter.localcloud",
        description="A local cloud with the API of the real cloud. When it is ready, it prints one JSON line\n"
        "with base_url, api_key and data. It listens only on the loopback interface. To stop it, send it a signal.",
        formatter_class=_Formatter,
        epilog="names of --strange:\n" + "\n".join(f"  {name:22}{does}" for name, does in SWITCHES.items()),
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="port to listen on; 0 finds a free one")
    add("--data", type=Path, required=True, help="folder for all data; created if missing")
    add(
        "--add-user",
        metavar="EMAIL",
        help="add a user with a personal organization and --credits, or set the password of an existing user. "
        "Then exit. The cloud may be running. The password is typed at a prompt, or read from stdin",
    )
    add("--credits", type=_parse_credits, default=CloudOptions.credits,
        help="credits that a new data folder starts with")  # fmt: skip
    add("--voucher", dest="vouchers", action="append", type=_parse_voucher, default=[], metavar="CODE=CREDITS",
        help="a voucher that can be redeemed once; may be repeated")  # fmt: skip
    add(
        "--quota",
        type=_parse_profiles,
        default=CloudOptions.quota,
        metavar="PROFILE,…",
        help="machines that runs may use",
    )
    add(
        "--no-capacity",
        type=_parse_cards,
        default=(),
        metavar="CARD,…",
        help="GPUs that are sold out for VMs, such as b200",
    )
    add("--access-seconds", type=int, default=CloudOptions.access_seconds, help="lifetime of an access token")
    add("--refresh-seconds", type=int, default=CloudOptions.refresh_seconds, help="lifetime of a refresh token")
    add("--clock-speed", type=_parse_speed, default=CloudOptions.clock_speed, metavar="TIMES",
        help="factor that speeds up deployments, VMs and batches, such as 10")  # fmt: skip
    add("--longest-run", type=int, default=CloudOptions.longest_run, metavar="SECONDS",
        help="maximum time limit of a run; default: the documented maximum")  # fmt: skip
    add(
        "--shorten-runs",
        action="store_true",
        help="if a time limit is above --longest-run, shorten it and return no error",
    )
    add("--vm-address-seconds", type=float, default=CloudOptions.vm_address_seconds, metavar="SECONDS",
        help="seconds until a running VM has an address; --clock-speed divides this time")  # fmt: skip
    add("--vm-reclaim-seconds", type=float, default=CloudOptions.vm_reclaim_seconds, metavar="SECONDS",
        help="seconds until a running spot VM is reclaimed; --clock-speed divides this time; default: "
            "never")  # fmt: skip
    add(
        "--vm-ssh-blocked",
        action="store_true",
        help="refuse SSH connections to VMs, to imitate a network that blocks SSH",
    )
    add("--inference-upstream", type=_parse_web_address, default=CloudOptions.inference_upstream, metavar="URL",
        help="base URL of an OpenAI-compatible service that answers model calls, such as "
        "http://127.0.0.1:8000/v1; set the key of the service in LK_INFERENCE_UPSTREAM_KEY")  # fmt: skip
    add("--s3-credential-seconds", type=int, default=CloudOptions.s3_credential_seconds,
        help="lifetime of temporary credentials for storage")  # fmt: skip
    add("--storage-bytes", type=int, default=CloudOptions.storage_bytes, metavar="BYTES",
        help="maximum size of the files that an organization uploads through the REST API")  # fmt: skip
    add(
        "--simulate-gpu",
        action="store_true",
        help="simulate GPU metrics for runs on gpu.* machines, and mark them as simulated",
    )
    add("--engine", choices=("auto", *PROGRAMS, "none"), default=CloudOptions.engine, help="what runs container images")
    add("--strange", action="append", type=_parse_switches, default=[], metavar="NAME,…",
        help="imitate a possible difference between the real cloud and the local cloud: a name below, or all; may be "
            "repeated")  # fmt: skip
    add("--replay", type=Path, metavar="RECORDING",
        help="behave as the cloud in a recording of %%lk_check --spend --record: states, fields, ids, limits, errors "
            "and delays; --clock-speed divides the delays")  # fmt: skip
    add("--faults", action="store_true", help="let tests inject faults at /_faults")
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and a list line by line."""


def _parse_switches(text: str) -> tuple[str, ...]:
    names = tuple(SWITCHES) if text == "all" else tuple(text.split(","))
    if unknown := set(names) - set(SWITCHES):
        raise argparse.ArgumentTypeError(f"unknown name {', '.join(sorted(unknown))}. Names: {', '.join(SWITCHES)}")
    return names


def _parse_credits(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= MOST_CREDITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of credits from 0 to {MOST_CREDITS}")
    return amount


def _parse_voucher(text: str) -> tuple[str, Decimal]:
    code, _, amount = text.partition("=")
    if not code or not amount:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as CODE=CREDITS")
    return code, _parse_credits(amount)


def _parse_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0 < speed <= MOST_SPEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, up to {MOST_SPEED:g}")
    return speed


def _parse_web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a web address. Example: http://127.0.0.1:8000/v1")
    return text


def _parse_cards(text: str) -> tuple[str, ...]:
    cards = tuple(text.split(","))
    if unknown := set(cards) - set(GPUS):
        raise argparse.ArgumentTypeError(f"unknown GPU {', '.join(sorted(unknown))}. GPUs: {', '.join(GPUS)}")
    return cards


def _parse_profiles(text: str) -> tuple[str, ...]:
    profiles = tuple(text.split(","))
    if unknown := set(profiles) - set(PRICES):
        raise argparse.ArgumentTypeError(f"unknown machine {', '.join(sorted(unknown))}. Machines: {', '.join(PRICES)}")
    return profiles


if __name__ == "__main__":
    sys.exit(main())
