"""The commands of ``lk``, and their arguments, which are declared as options of the package."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from lk_jupyter.cli.output import EXIT_CODES, CommandOutput
from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from lk_jupyter.options.runs import Options

#: The call of Python whose options the commands that start or plan a run accept.
_CALL = "session.run"


class Arguments(NamedTuple):
    """The arguments of a command: its options, and the options of the run, which are checked when it is prepared."""

    options: Any
    run: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A command: the model of its options, as ``module:class``, and its function.

    ``takes_run`` is whether the command accepts the options of a run. ``effect`` is what the command does to the
    server, for the message of a command that ends early.
    """

    name: str
    model: str
    function: str
    summary: str
    example_arguments: str
    takes_run: bool = False
    effect: Literal["reads", "starts", "stops", "transfers"] = "reads"

    @property
    def example(self) -> str:
        """A line with the command."""
        return f"lk {self.name} {self.example_arguments}".rstrip()

    def load(self) -> Callable[[Arguments, CommandOutput], int]:
        """Return the function of the command."""
        function: Callable[[Arguments, CommandOutput], int] = _import_object(f"lk_jupyter.cli.{self.function}")
        return function

    def parse(self, words: list[str]) -> Arguments:
        """Parse the words after the name of the command. Raises UsageError."""
        from lk_jupyter.options.arguments import argument_value  # noqa: PLC0415 (imports pydantic)

        values, unknown = self._parser.parse_known_args(words)
        if unknown:
            raise UsageError(f"lk {self.name} doesn't accept '{unknown[0]}'. All options: lk {self.name} --help")
        fields = dict(self.fields())
        requirement = f"lk {self.name} needs"
        return self.check_values(
            {name: argument_value(fields[name], value, requirement) for name, value in vars(values).items()}
        )

    def check_values(self, values: Mapping[str, Any]) -> Arguments:
        """Return the arguments with these values by name. Raises UsageError."""
        from lk_jupyter.options.runs import check  # noqa: PLC0415 (help needs no check)

        names = self._model.model_fields
        options = check(self._model, {name: value for name, value in values.items() if name in names})
        return Arguments(options, {name: value for name, value in values.items() if name not in names})

    def help(self) -> str:
        """Return the help of the command."""
        return self._parser.format_help().rstrip()

    def fields(self) -> Iterator[tuple[str, FieldInfo]]:
        """Iterate over the options with their declarations: of the command, then of the run."""
        yield from self._model.model_fields.items()
        if self.takes_run:
            from lk_jupyter.options.calls import CALLS  # noqa: PLC0415 (three commands need it)

            yield from CALLS[_CALL].fields()

    @cached_property
    def _model(self) -> type[Options]:
        model: type[Options] = _import_object(f"lk_jupyter.options.{self.model}")
        return model

    @cached_property
    def _parser(self) -> ArgumentParser:
        from lk_jupyter.options.arguments import argument_settings, flags  # noqa: PLC0415 (imports pydantic)

        parser = _Parser(
            prog=f"lk {self.name}",
            description=f"{self.summary}\n\nExample: {self.example}",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for name, field in self.fields():
            parser.add_argument(*flags(name, field), **argument_settings(name, field, greedy=False))
        parser.add_argument("--json", action="store_true", default=SUPPRESS, help="Print one JSON object per line.")
        return parser


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from lk_jupyter.options.arguments import describe_misuse  # noqa: PLC0415 (imports pydantic)

        raise UsageError(f"{self.prog} {describe_misuse(message)}. All options: {self.prog} --help")


def _import_object(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


_TRAIN = "train.py --gpu A100 --timeout 10m"

COMMANDS = {
    command.name: command
    for command in (
        Command("plan", "commands:CodeCommandOptions", "runs:plan", "Show machine, time limit and highest cost. "
            "Nothing is sent.", f"{_TRAIN} --json", takes_run=True),
        Command("run", "commands:RunCommandOptions", "runs:run", "Start a run and print its log for up to 40 seconds. "
            "The run stays active afterwards.", f"{_TRAIN} --json", takes_run=True, effect="starts"),
        Command("start", "commands:StartCommandOptions", "runs:start", "Start a run and print its id.",
            f"{_TRAIN} --key train-1 --json", takes_run=True, effect="starts"),
        Command("wait", "commands:WaitCommandOptions", "runs:wait", "Wait at most 40 seconds for the end of a run.",
            "ID --seconds 40 --json"),
        Command("logs", "commands:LogsCommandOptions", "runs:logs", "Print the log of a run.",
            "ID --since 120 --json"),
        Command("fetch", "commands:FetchCommandOptions", "runs:fetch", "Print result and variables of a run that has "
            "ended.", "ID --json"),
        Command("stop", "commands:StopCommandOptions", "stop:stop", "Stop runs, VMs and deployments, so that they cost "
            "no more.", "--all --yes --json", effect="stops"),
        Command("runs", "runs:RunsOptions", "runs:runs", "List active runs, then finished runs.", "--json"),
        Command("machines", "runs:NoOptions", "account:machines", "List machine types with prices, cheapest first.",
            "--json"),
        Command("balance", "runs:NoOptions", "account:balance", "Show remaining credits.", "--json"),
        Command("ls", "storage:LsOptions", "files:ls", "List a folder of the bucket.", "data/ --json"),
        Command("put", "storage:PutOptions", "files:put", "Upload a file or a folder to the bucket.",
            "train.csv data/ --json", effect="transfers"),
        Command("get", "storage:GetOptions", "files:get", "Download a file or a folder of the bucket.",
            "results/model.pt --json", effect="transfers"),
        Command("skill", "runs:NoOptions", "account:skill", "Print SKILL.md, the instructions for agents.",
            ""),
    )
}  # fmt: skip


def find_command(name: str) -> Command:
    """Return the command of this name. Raises UsageError for an unknown name."""
    if name in COMMANDS:
        return COMMANDS[name]
    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean lk {near[0]}?" if near else "List commands: lk --help"
    raise UsageError(f"lk has no command '{name}'. {hint}")


def format_overview() -> str:
    """Return the help of ``lk``: its commands and exit codes."""
    commands = (f"  {command.name:10}{command.summary}" for command in COMMANDS.values())
    codes = (f"  {code:<10}{meaning}" for code, meaning in EXIT_CODES.items())
    return "\n".join(
        [
            "usage: lk COMMAND [OPTIONS] [--json]",
            "",
            "Run code on the GPUs of Lyceum Cloud. A command returns within 45 seconds. Only lk stop --all prompts.",
            "",
            "commands:",
            *commands,
            "",
            "exit codes:",
            *codes,
            "",
            "Show the options of a command, for example of run: lk run --help",
        ]
    )
