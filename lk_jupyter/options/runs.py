"""Options of the magics: a model for each magic, used by the parser, the forms and the docs."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Collection, Iterator
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from lk_jupyter.config.settings import parse_duration
from lk_jupyter.errors import UsageError
from lk_jupyter.options.fields import option, run_word, switch, word
from lk_jupyter.text.problems import describe_problem

M = TypeVar("M", bound=BaseModel)


class Options(BaseModel):
    """Base of all options; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    @field_validator(
        "timeout", "volume_timeout", "stop_timeout", "keep", "ends_in", "run_limit", mode="before", check_fields=False
    )
    @classmethod
    def _read_duration(cls, value: object) -> object:
        """Return the seconds of a duration such as 2h; other values stay for the check of the type."""
        try:
            return parse_duration(value) if isinstance(value, str) else value
        except ValueError as error:
            raise PydanticCustomError("duration", str(error)) from None


def check(model: type[Options], values: dict[str, Any]) -> Any:  # the given model
    """Make the options from raw values; None leaves an option unset.

    Raises:
        UsageError: A value doesn't fit.
        TypeError: A name isn't an option, as for any unknown keyword argument in Python.
    """
    options = {current_name(model, name): value for name, value in values.items() if value is not None}
    for name in options:
        if name not in model.model_fields:
            raise TypeError(f"'{name}' is an invalid keyword argument. Nothing was sent.")
    try:
        return model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        field = model.model_fields.get(name)
        example = _EXAMPLES.get(str(extras(field).get("metavar"))) if field else None
        hint = f" Example: {option_flag(model, name)} {example}" if example else ""
        subject = option_flag(model, name) if name else model.__name__
        rejected = options.get(name, first["input"]) if len(first["loc"]) == 1 else first["input"]
        raise UsageError(f"{subject} {describe_problem(first)}, got {str(rejected)!r}.{hint}") from None


def check_model(model: type[M], values: dict[str, Any]) -> M:
    """Build a request from options. Raises UsageError with a single line on the invalid value."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]} {describe_problem(first)}, got {str(first['input'])!r}.") from None


@cache
def renamed_options(model: type[Options]) -> dict[str, str]:
    """Return old name → name of the options of a model."""
    return {old: name for name, field in model.model_fields.items() for old in extras(field).get("old_names", ())}


@cache
def option_aliases(model: type[Options]) -> dict[str, str]:
    """Return alias → name of the options of a model. Both stay."""
    return {alias: name for name, field in model.model_fields.items() for alias in extras(field).get("aliases", ())}


def current_name(model: type[Options], name: str) -> str:
    """Return the current name of an option for an alias or an old name; an old name warns."""
    if name in (aliases := option_aliases(model)):
        return aliases[name]
    new = renamed_options(model).get(name)
    if new is None:
        return name
    warnings.warn(f"The option '{name}' is now '{new}'.", FutureWarning, stacklevel=3)
    return new


_EXAMPLES = {"DURATION": "2h", "CREDITS": "2.50", "PORT": "8000", "N": "10", "GIB": "40"}


def option_flag(model: type[Options], name: str) -> str:
    """Return how an option is written on a magic's line, such as ``--max-cost``."""
    field = model.model_fields.get(name)
    return name if field and extras(field).get("positional") else "--" + name.replace("_", "-")


def extras(field: FieldInfo) -> dict[str, Any]:
    """Return the settings of a field that ``option`` declares, beyond the type."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def format_line(options: Options) -> str:
    """Return the line of a magic that has these options; options with their default are left out."""
    values = options.model_dump(exclude_defaults=True)
    return " ".join(word for name, value in values.items() for word in _yield_words(name, value))


def _yield_words(name: str, value: Any) -> Iterator[str]:
    flag = option_flag(RunOptions, name)
    if value is True:
        yield flag
    elif isinstance(value, dict):
        yield from (f"{flag} {shlex.quote(f'{key}={text}')}" for key, text in value.items())
    elif isinstance(value, list):
        yield from (f"{flag}={shlex.quote(str(text))}" for text in value)
    elif value is False:
        yield flag.replace("--", "--no-", 1)
    elif value is not None:
        yield flag + ("=" if str(value).startswith("-") else " ") + shlex.quote(str(value))


#: Need of an option → places that meet the need.
NEEDS = {
    "cell": "in a cell, such as %%lk_run or %lk_run_notebook",
    "hints": "in a cell, such as %%lk_run, and in session.fan_out(...)",
    "several": "for several runs: session.fan_out(...), or %%lk_run with --gpu A100,H100 or --sweep",
    "code": "for code that is sent as text: session.run(...) and %%lk_run",
    "session": "in a cell, such as %%lk_run --session train, and in session.warm_python('train')",
    "kept": "in a cell, such as %%lk_run, in session.warm_python('train'), and in Executor(keep='1m')",
    "image": "in a cell, in session.run(...), session.fan_out(...) and session.warm_python('train')",
    "waiting": "where the caller waits for the run: session.run(...) and %%lk_run",
}


def is_several(options: RunOptions) -> bool:
    """Whether the options ask for several runs, or for a run that is shown as several are."""
    return bool(options.sweep) or any("," in (wish or "") for wish in (options.gpu, options.machine))


def require_support(options: M, place: str, lacks: Collection[str]) -> M:
    """Return the options if the place supports all of them. Raises UsageError."""
    for name, needs in _yield_unsupported_options(options, lacks):
        raise UsageError(f"{place} doesn't support '{name}'. Nothing was sent. The option works {NEEDS[needs]}.")
    return options


#: Need that a cell of a session doesn't meet → the advice to a user of such an option.
_SESSION_LACKS = {
    "run": "A cell in a session doesn't start a new run.",
    "several": "Leave out --session for several runs.",
}


def refuse_in_session(options: RunOptions) -> None:
    """Refuse options that a cell of a session can't honor. Raises UsageError."""
    for name, need in _yield_unsupported_options(options, _SESSION_LACKS):
        advice = extras(type(options).model_fields[name])["instead"] or _SESSION_LACKS[need]
        place = "--keep" if options.keep else "--session"
        raise UsageError(f"{option_flag(type(options), name)} doesn't work with {place}. Nothing was sent. {advice}")


def fits_session(options: RunOptions) -> bool:
    """Return whether a cell of a session can honor all of the options."""
    return not any(_yield_unsupported_options(options, _SESSION_LACKS))


def _yield_unsupported_options(options: BaseModel, lacks: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the options that differ from their default and need a property that the place lacks, each with the need."""
    for name, field in type(options).model_fields.items():
        lacking = [need for need in extras(field).get("needs", ()) if need in lacks]
        if lacking and getattr(options, name) != field.get_default(call_default_factory=True):
            yield from ((name, need) for need in lacking)


class FollowOptions(Options):
    """Options of a run that is followed."""

    save: str | None = option(None, "Variable that receives the Run object.", metavar="VAR", needs="cell run")
    detach: bool = switch("Don't wait: the run stays active, and its log keeps updating.", needs="cell run")
    on_interrupt: Literal["abort", "detach"] | None = option(
        None,
        "What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt.",
        metavar="HOW",
        needs="waiting run",
        instead="An interrupt stops only the cell; the session stays active.",
    )
    quiet: bool = switch("Show only the receipt, not the log.", needs="cell")


class MachineOptions(Options):
    """The machine and the limits of a run."""

    gpu: str | None = option(
        None,
        'GPU, such as A100. "A100|H100" chooses the first GPU that you may use; any chooses the '
        "cheapest available GPU.",
        metavar="NAME",
        completer="gpus",
    )
    machine: str | None = option(
        None, "Machine type, such as gpu.a100 or cpu, instead of --gpu.", metavar="PROFILE", completer="machines"
    )
    memory: float | None = option(
        None,
        "Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory.",
        metavar="GIB",
        gt=0,
    )
    max_price: Decimal | None = option(
        None,
        "Maximum price of the machine, in credits per hour.",
        metavar="CREDITS",
        gt=0,
        allow_inf_nan=False,
    )
    timeout: int | None = option(
        None,
        "Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout.",
        metavar="DURATION",
        ge=1,
    )
    max_cost: Decimal | None = option(
        None,
        "Stop the run before it costs more credits than this. Default: setting max_cost.",
        metavar="CREDITS",
        gt=0,
        allow_inf_nan=False,
    )


class StartOptions(FollowOptions, MachineOptions):
    """Options of every run that can be followed."""

    name: str | None = option(
        None, "Display name of the run.", needs="run", instead="Leave out --name: --session already gives the name."
    )
    label: list[str] = option([], "Label of the run, for searches; may be repeated.", needs="run")
    metadata: dict[str, str] = option(
        {}, "Metadata to store with the run, as key=value; may be repeated.", metavar="K=V", needs="run"
    )
    no_hints: bool = switch(
        "Show no hints about failed or slow runs. To turn off the hints for all runs: %lk_config hints off.",
        needs="hints",
        old_names=["no_doctor"],
    )
    allow_secrets: bool = switch("Send the run even if it seems to contain a secret.")
    ask: bool = switch(
        "Show the highest cost and send the run only after your confirmation, also in Run All. The cell tag lk-ask "
        "has the same effect.",
        needs="cell run",
        instead="The machine of a session costs credits before the cell starts, so --ask can't limit them.",
    )
    dry_run: bool = switch(
        "Show the request and its highest possible cost; send nothing.", needs="cell", old_names=["plan"]
    )


class CodeOptions(StartOptions):
    """Options of runs of Python code: a cell, a script or a notebook."""

    requirements: list[str] = option(
        [],
        "Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or "
        "project (its lock file).",
        "-r",
        metavar="WHAT",
    )
    files: list[str] = option(
        [],
        "Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically.",
        metavar="GLOB",
    )
    attach: Literal["never", "auto"] = option(
        "never",
        "auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run.",
        metavar="WHEN",
        needs="code run",
    )


class RunOptions(CodeOptions):
    """Options of ``%%lk_run`` and ``Session.run``."""

    gpu: str | None = option(
        None,
        'GPU, such as A100 or 4xA100. "A100|H100" uses the first GPU that you may use; any uses the '
        "cheapest available GPU; A100,H100 starts one run on each.",
        metavar="NAME",
        completer="gpus",
    )
    machine: str | None = option(
        None,
        "Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each.",
        metavar="PROFILE",
        completer="machines",
    )
    nproc: int | None = option(
        None,
        "Number of processes that run the code, one for each GPU, with the environment of torchrun. Default: 1.",
        metavar="N",
        needs="code run",
        ge=1,
        le=64,
    )
    arg: list[str] = option(
        [],
        "Argument for sys.argv; may be repeated.",
        metavar="VALUE",
        needs="code run",
        instead="Set sys.argv in the cell.",
    )
    inputs: list[str] = option(
        [],
        "Variables of this notebook to upload, such as df,model. Unchanged variables aren't uploaded again.",
        "--in",
        metavar="NAMES",
        completer="variables",
        needs="code",
    )
    in_all: bool = switch("Upload every variable that the cell reads.", needs="code")
    outputs: list[str] = option(
        [],
        "Variables to download into this notebook when the run finishes, such as history,best.",
        "--out",
        metavar="NAMES",
        completer="variables",
        needs="code",
    )
    pickle: bool = switch(
        "Pickle values that have no other format. Python and packages must match on both sides.", needs="code"
    )
    sync: bool = switch(
        "Send the variables that the cell reads, and return the changed variables. The setting carry makes this "
        "the default.",
        needs="code",
        aliases=["carry"],
    )
    fresh: bool = switch(
        "Run in a fresh process. No variables are sent or returned.", needs="code", aliases=["no_carry", "no_sync"]
    )
    secret: list[str] = option(
        [],
        "Stored secret that the code can read; may be repeated. Default: all stored secrets.",
        metavar="NAME",
        completer="secrets",
        needs="code run",
    )
    sweep: list[str] = option(
        [],
        "Variable and its values, such as lr=0.1,0.01. Each value gets one run. Several sweeps and "
        "machines are combined.",
        metavar="NAME=A,B",
        needs="several",
    )
    parallel: int | None = option(
        None,
        "Maximum concurrent runs; the rest queue locally. Default: setting parallel.",
        metavar="N",
        needs="several",
        ge=1,
    )
    metric: list[str] = option(
        [],
        "Name of the printed number that ranks several runs, such as accuracy, or a pattern with one group. The "
        "highest number is best; for a loss or an error, the lowest. NAME:min or NAME:max overrides this.",
        metavar="NAME",
        needs="several",
        old_names=["score"],
    )
    stop_on_first: bool = switch(
        "Keep the first run that completes, and abort the others.", needs="several", old_names=["first"]
    )
    require_all: bool = switch(
        "Raise an error if any of several runs fails. Default: only if all fail.", needs="several", old_names=["strict"]
    )
    save: str | None = option(
        None,
        "Variable that receives the Run object or, for several runs, their table as a DataFrame.",
        metavar="VAR",
        needs="cell run",
    )
    on: Literal["run", "vm"] | None = option(
        None,
        "vm: rent a VM for the cell and delete the VM at the end. Default: run. If --timeout is too long for a "
        "run, you are asked whether to rent a VM.",
        metavar="WHERE",
        needs="code run",
    )
    spot: bool = switch("With --on vm: pay less for a VM that the cloud may reclaim at any time.", needs="code run")
    retries: int = option(
        0,
        "With --on vm: maximum number of new VMs after a VM fails or is reclaimed. Each new VM "
        "continues from the last checkpoint.",
        metavar="N",
        needs="code run",
        ge=0,
        le=20,
    )
    relay: bool = switch(
        "Continue in another run after each run's time limit, until --timeout. Each run restores the "
        "files of lk_jupyter.checkpoint_folder().",
        needs="code run",
    )
    volume: str | None = option(
        None,
        "With --on vm: volume to attach, or new:GB. In the code, LK_VOLUME is its folder. The volume "
        "stays and is billed.",
        metavar="ID",
        completer="volumes",
        needs="code run",
    )
    no_vm_key: bool = switch(
        "With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active.",
        needs="code run",
    )
    resume: str | None = option(
        None,
        "Id of the run to resume from. Your code finds the checkpoint of this run in the folder lk_resume.",
        metavar="ID",
        completer="runs",
        needs="code run",
    )
    stage: list[str] = option(
        [],
        "Bucket folder to copy to the run's disk before the code starts, as KEY:FOLDER or "
        "KEY:volume/FOLDER; may be repeated.",
        metavar="KEY:FOLDER",
        needs="code run",
        instead="Leave out --session and --keep: only a separate run has --stage.",
    )
    session: str | None = option(
        None,
        "Session to run in: a Python process that keeps variables between cells. The session is started if necessary.",
        metavar="NAME",
        needs="session",
    )
    idle: float | None = option(
        None,
        "Minutes without work after which the session ends, unless its time limit ends earlier. Default: 20.",
        metavar="MINUTES",
        needs="session",
        gt=0,
        allow_inf_nan=False,
    )
    keep: int | None = option(
        None,
        "Keep the machine for this time between cells, such as 5m. Cells share one Python process. "
        "With 0, each cell is a separate run.",
        metavar="DURATION",
        needs="kept",
        ge=0,
        le=3600,
    )
    image: str | None = option(
        None,
        "Image for the cell, such as pytorch/pytorch. --session and --keep need an image with Jupyter.",
        metavar="IMAGE",
        needs="image",
    )
    time: bool = switch("Show how long each phase took before the first line of the cell ran.", needs="cell")
    rich: bool | None = option(
        None,
        "Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a "
        "cell, off for a script.",
        needs="run",
        instead="Outputs of a session are always rich.",
    )


class ContainerOptions(StartOptions):
    """Options of runs of containers."""

    login: str | None = option(
        None,
        "User of the image's registry. You are asked for the password once, and the keyring stores "
        "it. For ECR, aws uses the AWS_ variables of this kernel.",
        metavar="USER",
    )
    reset_password: bool = switch(
        "Prompt for the password of --login again, and replace the stored password.", old_names=["new_login"]
    )
    mount: bool | None = option(None, "Mount the bucket in the containers. Default: on for an image, off for a stack.")
    stop_timeout: int | None = option(
        None,
        "Time that the container has to stop after the stop signal, such as 30s. Default: 10 s.",
        metavar="DURATION",
        old_names=["grace"],
        ge=1,
        le=300,
    )
    port: list[Annotated[int, Field(ge=1, le=65535)]] = option(
        [], "Port that the run listens on; the address of the port is shown. May be repeated.", "-p", metavar="PORT"
    )


class DockerOptions(ContainerOptions):
    """Options of ``%%lk_docker`` and ``Session.run_image``."""

    image: str = word("Image to run, such as python:3.11-slim or ghcr.io/team/app:1.", metavar="IMAGE")
    env: list[str] = option(
        [],
        "NAME=value for the container's environment, or NAME to use this kernel's value; may be repeated.",
        "-e",
        metavar="NAME[=value]",
    )
    user: str | None = option(None, "User in the container: a name, a uid or uid:gid.")
    mount_path: str | None = option(None, "Path where the bucket is mounted. Default: /mnt/s3.", metavar="PATH")
    shell: bool | None = option(
        None,
        "Run the cell as a shell script in the container. --no-shell runs it as one command, for "
        "images without a shell. Default: on.",
    )


class ComposeOptions(ContainerOptions):
    """Options of ``%%lk_compose`` and ``Session.run_compose``."""


class ServerOptions(MachineOptions):
    """Options of a hosted Jupyter server, as in ``Session.start_notebook``."""

    timeout: int | None = option(
        None,
        "Time until the server is stopped, such as 2h. Default and maximum: setting max_timeout.",
        metavar="DURATION",
        ge=1,
    )
    image: str = option(
        "jupyter/base-notebook:latest",
        "Image with a Jupyter server, such as quay.io/jupyter/pytorch-notebook.",
        metavar="IMAGE",
    )
    name: str | None = option(None, "Display name of the run.")
    mount: bool | None = option(None, "Mount the bucket at /mnt/s3. Default: on.")


class NotebookRunOptions(CodeOptions):
    """Options of ``%lk_run_notebook`` and ``Session.run_notebook``."""

    notebook: str = word("Path of the notebook.", metavar="PATH", completer="paths")
    parameter: dict[str, str] = option(
        {},
        "Variable to set in the notebook: after the cell with the tag parameters, or at the top "
        "without such a cell; may be repeated. Example: -p lr=0.1",
        "-p",
        metavar="NAME=VALUE",
    )
    output: str | None = option(
        None,
        "Path of the executed notebook. Default: NAME.out.ipynb next to the notebook.",
        "-o",
        metavar="PATH",
        completer="paths",
    )


class OpenOptions(Options):
    """Options of ``%lk_open``."""

    run: str = run_word()
    port: int | None = word(
        "Port in the run. Default: the port that the run was started with.", None, metavar="PORT", ge=1, le=65535
    )
    no_browser: bool = switch("Show the address; don't open it.")


class NoOptions(Options):
    """Options of magics without options."""


class RunIdOptions(Options):
    """Options of the magics with a run as the only argument."""

    run: str = run_word()


class AttachOptions(FollowOptions):
    """Options of ``%lk_attach``."""

    run: str | None = word(
        "Id of the run, or its first characters. Default: the last run of this notebook.",
        None,
        metavar="ID",
        completer="runs",
    )
    outputs: list[str] = option(
        [],
        "Variables to copy into this notebook from a run that was started elsewhere, such as model,losses. "
        "Never reads pickles.",
        "--out",
        metavar="NAMES",
        old_names=["take"],
    )
    rich: bool = switch(
        "Show HTML, SVG and Markdown of a run that this kernel didn't start. They can run scripts in this notebook."
    )
    discard: bool = switch(
        "If the cloud never answered the request that starts a run, remove the request from the list. No run is "
        "followed."
    )


class WaitOptions(Options):
    """Options of ``%lk_wait``."""

    runs: list[str] = word(
        "Ids of runs, or their first characters. Default: all background runs of this notebook.",
        [],
        metavar="ID",
        completer="runs",
    )


class MachinesOptions(Options):
    """Options of ``%lk_machines``."""

    all: bool = switch("Also list machine types without a published price.")


class DeleteRunOptions(Options):
    """Options of ``%lk_delete``."""

    run: str = run_word()
    yes: bool = switch("Delete without asking.", "-y")


class LogsOptions(Options):
    """Options of ``%lk_logs``."""

    run: str | None = word(
        "Id of the run, or its first characters. Default: the newest lines of all your runs.",
        None,
        metavar="ID",
        completer="runs",
    )
    limit: int = option(1000, "Maximum number of lines.", metavar="N", ge=1, le=10_000)
    hours: int = option(24, "Hours to look back.", metavar="H", ge=1, le=168)


class RunsOptions(Options):
    """Options of ``lk runs``."""

    limit: int = option(20, "Maximum number of finished runs.", "-n", metavar="N", ge=1, le=1000)
