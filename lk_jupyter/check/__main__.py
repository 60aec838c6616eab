"""``python -m lk_jupyter.check``: the same as ``%lk_check``, for a terminal and for scripts."""

from __future__ import annotations

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

import argparse
import sys
from decimal import Decimal
from pathlib import Path

from lk_jupyter._encoding import accept_every_sign
from lk_jupyter.check.levels import MOST_CREDITS, LevelRequest
from lk_jupyter.check.start import start
from lk_jupyter.config.settings import parse_credits, parse_duration
from lk_jupyter.errors import LkError
from lk_jupyter.text.terminal import plain

#: Exit statuses: no difference; a difference; the check failed; interrupted.
SAME, DIFFERS, FAILED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Check the server in use, print the table, and return the exit status."""
    accept_every_sign()
    options = _build_parser().parse_args(arguments)
    wish = LevelRequest(
        options.public,
        options.probe_starts,
        options.spend,
        options.max_credits,
        options.record,
        options.run_limit,
        lambda _: bool(options.yes),
    )
    try:
        check = start(wish, options.base_url)
    except LkError as problem:
        return _report_problem(str(problem))
    try:
        check.run(lambda words: print(plain(words), file=sys.stderr))  # noqa: T201
    except LkError as problem:
        print(plain(str(check.report.table())))  # noqa: T201
        return _report_problem(str(problem))
    except KeyboardInterrupt:
        print(plain(str(check.report.table())))  # noqa: T201
        print("Interrupted. Runs that the check started are aborted.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    print(plain(str(check.report.table())))  # noqa: T201
    return DIFFERS if check.report.deviations else SAME


def _report_problem(problem: str) -> int:
    print(plain(problem), file=sys.stderr)  # noqa: T201
    return FAILED


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lk_jupyter.check",
        description="Compare a server with the assumptions of lk_jupyter. Exit status: 0 no difference, 1 a "
        "difference, 2 the server could not be checked, 130 interrupted.",
    )
    add = parser.add_argument
    add("--base-url", metavar="URL", help="server to check; default: the server in use")
    add("--public", action="store_true", help="send only requests that need no key")
    add("--probe-starts", action="store_true",
        help="send requests that lack a required field to start runs; a run that starts anyway is aborted "
            "and billed")  # fmt: skip
    add("--spend", action="store_true", help="start four short runs, and request 8 tokens from a model")
    add("--max-credits", type=_parse_credits, default=MOST_CREDITS, metavar="CREDITS",
        help=f"credits that --spend may cost at most; default: {MOST_CREDITS}")  # fmt: skip
    add("--run-limit", type=_parse_seconds, metavar="DURATION",
        help="start a run with this time limit and abort it, to find the account's limit; needs --yes")  # fmt: skip
    add("--yes", action="store_true", help="consent to the run that --run-limit starts")
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="write the answers of the server, without keys, addresses, names and ids",
    )
    return parser


def _parse_credits(text: str) -> Decimal:
    try:
        return parse_credits(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} isn't an amount of credits above 0") from None


def _parse_seconds(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as form:
        raise argparse.ArgumentTypeError(f"{text!r} isn't {form}") from None


if __name__ == "__main__":
    sys.exit(main())
