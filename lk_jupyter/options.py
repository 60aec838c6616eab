"""What a cell may ask for: one model per magic, read by the parser, the forms and the docs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from lk_jupyter.errors import UsageError

M = TypeVar("M", bound=BaseModel)


class Options(BaseModel):
    """Base of all options; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid")


def check(model: type[Options], values: dict[str, Any]) -> Any:  # the given model
    """Make the options from raw values, or say in one line which one does not fit.

    Raises UsageError.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = on_the_line(model, str(first["loc"][0])) if first["loc"] else model.__name__
        raise UsageError(f"{name}: {first['msg']} (got {first['input']!r}).") from None


def check_model(model: type[M], values: dict[str, Any]) -> M:
    """Make what is sent from options, or say in one line which one does not fit. Raises UsageError."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']} (got {first['input']!r}).") from None


def on_the_line(model: type[Options], name: str) -> str:
    """Return how an option stands on a magic's line, such as ``--max-cost``."""
    field = model.model_fields.get(name)
    return name if field and extras(field).get("positional") else "--" + name.replace("_", "-")


def extras(field: FieldInfo) -> dict[str, Any]:
    """Return what ``_flag`` says of a field."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def line_of(options: Options) -> str:
    """Return what stands on a magic's line for these options; those that have their default are left out."""
    given = options.model_dump(exclude_defaults=True)
    return " ".join(word for name, value in given.items() for word in _words(name, value))


def _words(name: str, value: Any) -> Iterator[str]:
    flag = on_the_line(RunOptions, name)
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


def _flag(
    *flags: str,
    metavar: str | None = None,
    positional: bool = False,
    completer: str | None = None,
    greedy: bool = False,
) -> dict[str, Any]:
    """How a field looks on a magic's line, where its name alone does not tell.

    ``completer`` names what its values are completed from: machines, gpus, runs, settings, keys, paths or
    places (either of the last two). ``greedy`` lets a list take all the words that follow, where the
    magic's own words stand before.
    """
    said = {"flags": list(flags), "metavar": metavar, "positional": positional, "completer": completer}
    return {**said, "greedy": greedy}


def _on_interrupt() -> Any:
    return Field(
        None,
        description="What an interrupt does to the run: abort, or detach to let it go on in the background. Default: "
        "the setting on_interrupt.",
        json_schema_extra=_flag(metavar="HOW"),
    )


class MachineOptions(Options):
    """The machine of a run, and how long and for how much it may be used."""

    gpu: str | None = Field(
        None,
        description='GPU to run on: A100, a100 or gpu.a100. "A100|H100" takes the first that you may use.',
        json_schema_extra=_flag(metavar="NAME", completer="gpus"),
    )
    machine: str | None = Field(
        None,
        description="Machine profile to run on, such as gpu.a100 or cpu, in place of --gpu.",
        json_schema_extra=_flag(metavar="PROFILE", completer="machines"),
    )
    timeout: int | None = Field(
        None,
        ge=1,
        description="Seconds the run may take. Default: the setting timeout; at most the setting max_timeout.",
        json_schema_extra=_flag(metavar="SECONDS"),
    )
    max_cost: Decimal | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Credits at which the run is stopped, before its time limit. Default: the setting max_cost.",
        json_schema_extra=_flag(metavar="CREDITS"),
    )


class StartOptions(MachineOptions):
    """What every run that is followed may be asked for, whatever it runs."""

    name: str | None = Field(None, description="Display name of the run.")
    label: list[str] = Field([], description="Tag for finding the run again; may be repeated.")
    metadata: dict[str, str] = Field(
        {}, description="key=value to keep with the run; may be repeated.", json_schema_extra=_flag(metavar="K=V")
    )
    save: str | None = Field(
        None, description="Variable that receives the Run object.", json_schema_extra=_flag(metavar="VAR")
    )
    detach: bool = Field(False, description="Start the run and return at once; the log goes on in the background.")  # noqa: FBT003
    on_interrupt: Literal["abort", "detach"] | None = _on_interrupt()
    quiet: bool = Field(False, description="Show the receipt only, not the log.")  # noqa: FBT003
    no_doctor: bool = Field(False, description="Show no hints on what went wrong or slowly; or set doctor to off.")  # noqa: FBT003
    allow_secrets: bool = Field(False, description="Send the run though it holds what looks like a secret.")  # noqa: FBT003
    plan: bool = Field(False, description="Show what would be sent and what it may cost; send nothing.")  # noqa: FBT003


class RunOptions(StartOptions):
    """Options of ``%%lk_run`` and ``Session.run``."""

    gpu: str | None = Field(
        None,
        description='GPU to run on: A100, a100 or gpu.a100. "A100|H100" takes the first that you may use, A100,H100 '
        "all of them, each in a run of its own.",
        json_schema_extra=_flag(metavar="NAME", completer="gpus"),
    )
    machine: str | None = Field(
        None,
        description="Machine profile to run on, such as gpu.a100 or cpu, in place of --gpu; several with commas.",
        json_schema_extra=_flag(metavar="PROFILE", completer="machines"),
    )
    requirements: list[str] = Field(
        [],
        description='Packages to install first: a requirements file, names such as "torch>=2.4", or auto for the '
        "cell's imports with the versions of this kernel.",
        json_schema_extra=_flag("-r", metavar="WHAT"),
    )
    files: list[str] = Field(
        [],
        description="Text files to ship beside the code, as paths or globs. Local modules that the cell imports go "
        "by themselves.",
        json_schema_extra=_flag(metavar="GLOB"),
    )
    arg: list[str] = Field(
        [], description="Argument for sys.argv; may be repeated.", json_schema_extra=_flag(metavar="VALUE")
    )
    inputs: list[str] = Field(
        [],
        description="Variables of this notebook to send along, such as df,model. What is stored is not sent again.",
        json_schema_extra=_flag("--in", metavar="NAMES", completer="variables"),
    )
    in_all: bool = Field(False, description="Send along every variable that the cell reads before it sets it.")  # noqa: FBT003
    outputs: list[str] = Field(
        [],
        description="Variables to bring back into this notebook when the run has ended, such as history,best.",
        json_schema_extra=_flag("--out", metavar="NAMES", completer="variables"),
    )
    pickle: bool = Field(
        False,  # noqa: FBT003
        description="Pickle what has no form of its own; Python and packages must then be the same at both ends.",
    )
    sweep: list[str] = Field(
        [],
        description="A variable that the cell finds set, with a run for each of its values: lr=0.1,0.01. Several are "
        "combined, with the machines too.",
        json_schema_extra=_flag(metavar="NAME=A,B"),
    )
    parallel: int | None = Field(
        None,
        ge=1,
        description="Most runs of several that go on at once; the others wait here. Default: the setting parallel.",
        json_schema_extra=_flag(metavar="N"),
    )
    score: list[str] = Field(
        [],
        description="A figure that the cell prints, by its name (accuracy) or a pattern with one group, for the table "
        "that compares several runs. The highest is the best, or the lowest of a loss or an error; NAME:min and "
        "NAME:max say which.",
        json_schema_extra=_flag(metavar="NAME"),
    )
    first: bool = Field(False, description="Of several runs keep the first that completes, and abort the others.")  # noqa: FBT003
    strict: bool = Field(False, description="Raise when one of several runs fails, not only when all do.")  # noqa: FBT003
    save: str | None = Field(
        None,
        description="Variable that receives the Run object; of several runs the table, as a DataFrame.",
        json_schema_extra=_flag(metavar="VAR"),
    )
    resume: str | None = Field(
        None,
        description="Run whose checkpoint to go on from: the code finds the folder with what it saved in lk_resume.",
        json_schema_extra=_flag(metavar="ID", completer="runs"),
    )
    attach: Literal["never", "auto"] = Field(
        "never",
        description="auto: follow the run, or the several, that this cell has started with the same code before, if it "
        "goes on or ended unseen, and start it else.",
        json_schema_extra=_flag(metavar="WHEN"),
    )
    rich: bool | None = Field(
        None,
        description="Show figures, tables and display() as they are made, and understand IPython's syntax. "
        "Default: on for a cell, off for a script.",
    )


class ContainerOptions(StartOptions):
    """What a run of containers may be asked for."""

    login: str | None = Field(
        None,
        description="User of the image's registry. The password comes from the keyring of your system, and is asked "
        "for the first time. aws takes the AWS_ variables of this kernel's environment, for ECR.",
        json_schema_extra=_flag(metavar="USER"),
    )
    new_login: bool = Field(False, description="Ask for the password of --login, and keep it in place of the kept one.")  # noqa: FBT003
    mount: bool | None = Field(
        None, description="Show the bucket in the containers. Default: on for an image, off for a stack."
    )
    grace: int | None = Field(
        None,
        ge=1,
        le=300,
        description="Seconds from the stop signal to the kill when the run is stopped. Default: 10.",
        json_schema_extra=_flag(metavar="SECONDS"),
    )
    port: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        [],
        description="Port that something in the run listens on, whose address is to be shown; may be repeated.",
        json_schema_extra=_flag("-p", metavar="PORT"),
    )


class DockerOptions(ContainerOptions):
    """Options of ``%%lk_docker`` and ``Session.run_image``."""

    image: str = Field(
        description="Image to run, such as python:3.11-slim or ghcr.io/team/app:1.",
        json_schema_extra=_flag(metavar="IMAGE", positional=True),
    )
    env: list[str] = Field(
        [],
        description="NAME=value for the container's environment, or NAME to take its value from this kernel's; may be "
        "repeated.",
        json_schema_extra=_flag("-e", metavar="NAME[=value]"),
    )
    user: str | None = Field(None, description="User in the container: a name, a uid or uid:gid.")
    mount_path: str | None = Field(
        None, description="Where the bucket appears. Default: /mnt/s3.", json_schema_extra=_flag(metavar="PATH")
    )
    shell: bool | None = Field(
        None,
        description="Run the cell as a script of the image's sh. With --no-shell it is one command with its arguments, "
        "for images without a shell. Default: on.",
    )


class ComposeOptions(ContainerOptions):
    """Options of ``%%lk_compose`` and ``Session.run_compose``."""


class ServerOptions(MachineOptions):
    """What a hosted Jupyter server may be asked for, as in ``Session.start_notebook``."""

    timeout: int | None = Field(
        None,
        ge=1,
        description="Seconds until it is stopped. Default: the setting max_timeout, which is the most that it may be.",
        json_schema_extra=_flag(metavar="SECONDS"),
    )
    image: str = Field(
        "jupyter/base-notebook:latest",
        description="Image with a Jupyter server, of the kind of Jupyter's own.",
        json_schema_extra=_flag(metavar="IMAGE"),
    )
    name: str | None = Field(None, description="Display name of the run.")
    mount: bool | None = Field(None, description="Show the bucket at /mnt/s3. Default: on.")


class NotebookRunOptions(StartOptions):
    """Options of ``%lk_run_notebook`` and ``Session.run_notebook``."""

    notebook: str = Field(
        description="Path of the notebook.",
        json_schema_extra=_flag(metavar="PATH", positional=True, completer="paths"),
    )
    parameter: dict[str, str] = Field(
        {},
        description="Variable to set, behind the cell that is tagged parameters or else at the top: a Python literal "
        "or text; may be repeated.",
        json_schema_extra=_flag("-p", metavar="NAME=VALUE"),
    )
    output: str | None = Field(
        None,
        description="Path of the executed notebook. Default: beside the notebook, as NAME.out.ipynb.",
        json_schema_extra=_flag("-o", metavar="PATH", completer="paths"),
    )
    requirements: list[str] = Field(
        [],
        description='Packages to install first: a requirements file or names such as "torch>=2.4"; may be repeated. '
        "nbclient and ipykernel, which execute it, are added.",
        json_schema_extra=_flag("-r", metavar="WHAT"),
    )
    files: list[str] = Field(
        [],
        description="Text files to ship beside it, as paths or globs in its folder, such as modules that it imports.",
        json_schema_extra=_flag(metavar="GLOB"),
    )
    attach: Literal["never", "auto"] = Field(
        "never",
        description="auto: follow the run of this notebook with these parameters that was started before, if it goes "
        "on or ended unseen, and start it else.",
        json_schema_extra=_flag(metavar="WHEN"),
    )


class OpenOptions(Options):
    """Options of ``%lk_open``."""

    run: str = Field(
        description="Id of the run, or its first characters.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="runs"),
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port that listens in the run. Default: the one that the run was started with.",
        json_schema_extra=_flag(metavar="PORT", positional=True),
    )
    no_browser: bool = Field(False, description="Show the address only.")  # noqa: FBT003


class NoOptions(Options):
    """For magics that take nothing."""


class LoginOptions(Options):
    """Options of ``%lk_login``."""

    local: bool = Field(False, description="Use the local cloud on this machine; start it when it does not run.")  # noqa: FBT003
    browser: bool = Field(False, description="Sign in on the web site, in a browser on this machine.")  # noqa: FBT003
    email: str | None = Field(
        None,
        description="Sign in with the password of this account, which is asked for, in place of a key.",
        json_schema_extra=_flag(metavar="ADDRESS"),
    )
    base_url: str | None = Field(
        None,
        description="Server to sign in to, in place of the setting base_url.",
        json_schema_extra=_flag(metavar="URL"),
    )


class ConfigOptions(Options):
    """Options of ``%lk_config``."""

    name: str | None = Field(
        None, description="Setting to show or change.", json_schema_extra=_flag(positional=True, completer="settings")
    )
    value: str | None = Field(
        None, description="Value to keep for you on this machine.", json_schema_extra=_flag(positional=True)
    )
    unset: bool = Field(False, description="Forget the kept value.")  # noqa: FBT003


def _run_field() -> Any:
    return Field(
        description="Id of the run, or its first characters.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="runs"),
    )


class RunIdOptions(Options):
    """Options of the magics that take one run and nothing else."""

    run: str = _run_field()


class AttachOptions(Options):
    """Options of ``%lk_attach``."""

    run: str = _run_field()
    save: str | None = Field(
        None, description="Variable that receives the Run object.", json_schema_extra=_flag(metavar="VAR")
    )
    detach: bool = Field(False, description="Return at once; the log goes on in the background.")  # noqa: FBT003
    on_interrupt: Literal["abort", "detach"] | None = _on_interrupt()
    quiet: bool = Field(False, description="Show the receipt only, not the log.")  # noqa: FBT003


class WaitOptions(Options):
    """Options of ``%lk_wait``."""

    runs: list[str] = Field(
        [],
        description="Ids of runs, or their first characters. Default: all that go on in the background here.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="runs"),
    )


class MachinesOptions(Options):
    """Options of ``%lk_machines``."""

    all: bool = Field(False, description="List the profiles too that only the quotas of your account name.")  # noqa: FBT003


class ForgetOptions(Options):
    """Options of ``%lk_forget``."""

    run: str = _run_field()
    yes: bool = Field(False, description="Remove without asking.", json_schema_extra=_flag("-y"))  # noqa: FBT003


class LogsOptions(Options):
    """Options of ``%lk_logs``."""

    run: str | None = Field(
        None,
        description="Id of the run, or its first characters. Default: the newest lines of all your runs.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="runs"),
    )
    limit: int = Field(1000, ge=1, le=10_000, description="Most lines to show.", json_schema_extra=_flag(metavar="N"))
    hours: int = Field(
        24, ge=1, le=168, description="Age limit of the lines, counted from now.", json_schema_extra=_flag(metavar="H")
    )


class RunsOptions(Options):
    """Options of ``%lk_runs``."""

    limit: int = Field(
        20, ge=1, le=1000, description="Most ended runs to list.", json_schema_extra=_flag("-n", metavar="N")
    )


class HistoryOptions(Options):
    """Options of ``%lk_history`` and ``Session.history``."""

    text: list[str] = Field(
        [],
        description="Words that the run has: in its code, name, labels, metadata, notebook or error.",
        json_schema_extra=_flag(positional=True),
    )
    machine: str | None = Field(
        None, description="Only runs on this machine.", json_schema_extra=_flag(metavar="NAME", completer="machines")
    )
    state: str | None = Field(None, description="Only runs in this state, such as failed.")
    label: list[str] = Field([], description="Only runs with this label; may be repeated.")
    since: str | None = Field(
        None,
        description="Only runs started since: a span such as 7d, 12h or 30m, or a date.",
        json_schema_extra=_flag(metavar="WHEN"),
    )
    notebook: str | None = Field(
        None, description="Only runs of this notebook.", json_schema_extra=_flag(metavar="NAME")
    )
    limit: int = Field(
        50, ge=1, le=100_000, description="Most runs to list.", json_schema_extra=_flag("-n", metavar="N")
    )


class DiffOptions(Options):
    """Options of ``%lk_diff``."""

    before: str = _run_field()
    after: str = _run_field()


class RerunOptions(Options):
    """Options of ``%lk_rerun``."""

    run: str = _run_field()
    machine: str | None = Field(
        None,
        description="Machine to run on this time: a profile, or a GPU such as A100.",
        json_schema_extra=_flag(metavar="NAME", completer="machines"),
    )
    save: str | None = Field(
        None, description="Variable that receives the Run object.", json_schema_extra=_flag(metavar="VAR")
    )
    detach: bool = Field(False, description="Start the run and return at once; the log goes on in the background.")  # noqa: FBT003
    on_interrupt: Literal["abort", "detach"] | None = _on_interrupt()
    quiet: bool = Field(False, description="Show the receipt only, not the log.")  # noqa: FBT003


class ExportOptions(Options):
    """Options of ``%lk_export``."""

    run: str = _run_field()
    file: str | None = Field(
        None, description="File to write; without one the script is shown.", json_schema_extra=_flag(positional=True)
    )


class LsOptions(Options):
    """Options of ``%lk_ls``."""

    folder: str = Field(
        "",
        description="Folder, object or pattern such as data/*.csv. Default: the whole bucket.",
        json_schema_extra=_flag(positional=True, completer="keys"),
    )
    recursive: bool = Field(False, description="List what is in the folders too.", json_schema_extra=_flag("-r"))  # noqa: FBT003
    tree: bool = Field(False, description="Draw folders and objects as a tree.")  # noqa: FBT003
    limit: int = Field(
        100, ge=1, le=100_000, description="Most items to show.", json_schema_extra=_flag("-n", metavar="N")
    )


class PutOptions(Options):
    """Options of ``%lk_put``."""

    source: str = Field(
        description="File, folder, or pattern such as *.csv on this machine.",
        json_schema_extra=_flag(positional=True, completer="paths"),
    )
    key: str = Field(
        "",
        description="Key or folder (with a slash at its end) in the bucket. Default: the name of the source.",
        json_schema_extra=_flag(positional=True, completer="keys"),
    )


class GetOptions(Options):
    """Options of ``%lk_get``."""

    key: str = Field(
        description="Key of an object, or a folder with a slash at its end.",
        json_schema_extra=_flag(positional=True, completer="keys"),
    )
    target: str = Field(
        ".", description="File or folder on this machine.", json_schema_extra=_flag(positional=True, completer="paths")
    )
    checksum: bool = Field(False, description="Read what came again, and compare its checksum.")  # noqa: FBT003


class SyncOptions(Options):
    """Options of ``%lk_sync``."""

    source: str = Field(
        description="Folder that is followed; with lk:// before it, in the bucket.",
        json_schema_extra=_flag(positional=True, completer="places"),
    )
    target: str = Field(
        description="Folder that is made like it; with lk:// before it, in the bucket.",
        json_schema_extra=_flag(positional=True, completer="places"),
    )
    delete: bool = Field(False, description="Remove what is only in the target.")  # noqa: FBT003
    checksum: bool = Field(False, description="Compare the content of all files, not only size and time.")  # noqa: FBT003


class RmOptions(Options):
    """Options of ``%lk_rm``."""

    keys: list[str] = Field(
        description="Keys, patterns such as data/*.csv, or folders with a slash at their end.",
        json_schema_extra=_flag(metavar="KEY", positional=True, completer="keys"),
    )
    yes: bool = Field(False, description="Remove without asking.", json_schema_extra=_flag("-y"))  # noqa: FBT003


class LoadOptions(Options):
    """Options of ``%lk_load``."""

    key: str = Field(
        description="Key of an object; its suffix tells how it is loaded.",
        json_schema_extra=_flag(positional=True, completer="keys"),
    )
    save: str | None = Field(
        None, description="Variable that receives the value.", json_schema_extra=_flag("--as", metavar="VAR")
    )
    sample: int | None = Field(
        None, ge=1, description="Load the first rows or lines only.", json_schema_extra=_flag(metavar="N")
    )
    columns: list[str] = Field(
        [], description="Load these columns only.", json_schema_extra=_flag("-c", metavar="NAME", greedy=True)
    )
