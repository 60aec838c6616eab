"""``lk``: run code from a shell, for scripts, CI and agents.

Each command returns within 45 seconds. Only ``lk stop --all`` prompts, on a terminal. ``--json`` prints one JSON object
per line.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress

TYPE_CHECKING = False  # importing typing takes longer than this module
if TYPE_CHECKING:
    from typing import Any

    from lk_jupyter.cli.output import CommandOutput
    from lk_jupyter.cli.parser import Arguments, Command

#: Seconds after which a command ends, whatever the server does.
LIMIT_SECONDS = 43.0

_HELP = frozenset({"-h", "--help", "help"})
_VERSION = frozenset({"-V", "--version", "version"})


def entry() -> None:
    """Execute the command of this process, and end the process within the limit."""
    gc.set_threshold(100_000)  # the imports create many objects that stay, and each search reads all of them
    from lk_jupyter.cli.output import CLOSED  # noqa: PLC0415 (the import of this module stays fast)

    code = main(limit=LIMIT_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = CLOSED
    os._exit(code)  # the journal is on disk, and a thread that waits for the server must not delay the end


def main(arguments: Sequence[str] | None = None, *, limit: float | None = None) -> int:
    """Execute a command and return its exit code. ``limit`` is the number of seconds after which the process ends."""
    from lk_jupyter.cli.output import CommandOutput  # noqa: PLC0415 (the import of this module stays fast)

    words = list(sys.argv[1:] if arguments is None else arguments)
    output = CommandOutput(sys.stdout, is_json="--json" in words)
    words = [word for word in words if word != "--json"]
    with redirect_stdout(sys.stderr):  # stdout has the records only
        return execute(words, output, limit)


def _release_ended_rentals() -> None:
    """Delete rentals of this computer whose stated end has passed, before the command: its process ends soon."""
    from lk_jupyter.journal.charges import has_overdue_charges  # noqa: PLC0415 (the import of this module stays fast)

    if not has_overdue_charges():
        return
    from lk_jupyter.errors import LkError  # noqa: PLC0415 (few commands find such a rental)
    from lk_jupyter.session import connect  # noqa: PLC0415
    from lk_jupyter.text.terminal import plain  # noqa: PLC0415
    from lk_jupyter.vms.rentals import release_rentals  # noqa: PLC0415

    with suppress(LkError), connect() as session:
        for line in release_rentals(session):
            print(plain(line), file=sys.stderr)  # noqa: T201 (a command)


def _continue_runs() -> None:
    """Start a driver for each run of this computer without one: it sends the code, or deletes a VM at its end."""
    from lk_jupyter.journal.drivers import start_missing_drivers  # noqa: PLC0415 (the import of this module stays fast)

    start_missing_drivers()


def execute(words: list[str], output: CommandOutput, limit: float | None = None) -> int:
    """Execute a command, print its records, and return its exit code; ``limit`` is as for ``main``."""

    def execute_words() -> int:
        from lk_jupyter.cli.parser import find_command  # noqa: PLC0415 (the import of this module stays fast)

        if information := _find_information(words):
            event, text = information
            output.emit(event, text, text=text)
            return 0
        command = find_command(words[0])
        return _execute_command(command, command.parse(words[1:]), output, limit)

    return _report_errors(execute_words, output)


def call(name: str, values: Mapping[str, Any], output: CommandOutput) -> int:
    """Execute a command with values of its options, print its records, and return its exit code.

    The values become no command line, so none of them can be an option.
    """

    def execute_values() -> int:
        from lk_jupyter.cli.parser import find_command  # noqa: PLC0415 (the import of this module stays fast)

        command = find_command(name)
        return _execute_command(command, command.check_values(values), output, None)

    return _report_errors(execute_values, output)


def _execute_command(command: Command, arguments: Arguments, output: CommandOutput, limit: float | None) -> int:
    from lk_jupyter.cli.failures import report_timeout  # noqa: PLC0415
    from lk_jupyter.cli.output import TimeLimit  # noqa: PLC0415
    from lk_jupyter.config.settings import one_reading  # noqa: PLC0415

    if limit is not None:
        output.limit = TimeLimit(limit, lambda: report_timeout(command, output))
        output.limit.start()
    with one_reading():
        _continue_runs()
        _release_ended_rentals()
        return command.load()(arguments, output)


def _report_errors(work: Callable[[], int], output: CommandOutput) -> int:
    """Return the exit code of a command, or print its error and return the exit code of the error."""
    from lk_jupyter.cli.failures import exit_code_for  # noqa: PLC0415

    try:
        return work()
    except BrokenPipeError:
        return output.report_closed()
    except KeyboardInterrupt as interrupt:
        return output.fail(interrupt, exit_code_for(interrupt))
    except Exception as error:  # noqa: BLE001 (each error becomes a record and an exit code)
        return output.fail(error, exit_code_for(error))


def _find_information(words: list[str]) -> tuple[str, str] | None:
    """Return the name and the text of the help or the version that these words request; None for a command."""
    from lk_jupyter._version import __version__  # noqa: PLC0415
    from lk_jupyter.cli.parser import find_command, format_overview  # noqa: PLC0415

    if not words or words[0] in _HELP:
        return "help", format_overview()
    if words[0] in _VERSION:
        return "version", __version__
    return ("help", find_command(words[0]).help()) if _HELP & set(words[1:2]) else None
