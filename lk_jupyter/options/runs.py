"""Options of the magics: one model for each, used by the parser, the forms and the docs."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from lk_jupyter.errors import UsageError
from lk_jupyter.text.problems import in_words

M = TypeVar("M", bound=BaseModel)


class Options(BaseModel):
    """Base of all options; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid")


def check(model: type[Options], values: dict[str, Any]) -> Any:  # the given model
    """Make the options from raw values. Raises UsageError in one line that names what doesn't fit.

    Raises UsageError.
    """
    try:
        return model(**{current_name(model, name): value for name, value in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        field = model.model_fields.get(name)
        example = _EXAMPLES.get(str(extras(field).get("metavar"))) if field else None
        hint = f" Example: {on_the_line(model, name)} {example}" if example else ""
        said = on_the_line(model, name) if name else model.__name__
        raise UsageError(f"{said} {in_words(first)}, got {str(first['input'])!r}.{hint}") from None


def check_model(model: type[M], values: dict[str, Any]) -> M:
    """Make a request from options. Raises UsageError in one line that names what doesn't fit."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]} {in_words(first)}, got {str(first['input'])!r}.") from None


def check_name(name: str | None) -> None:
    """Refuse what cannot be the name of a variable. Raises UsageError."""
    if name is not None and not name.isidentifier():
        raise UsageError(f"--save takes a variable name, got '{name}'.")


#: Old name of an option → its name.
RENAMED = {
    "plan": "dry_run",
    "score": "metric",
    "first": "stop_on_first",
    "strict": "require_all",
    "no_doctor": "no_hints",
    "grace": "stop_timeout",
    "new_login": "reset_password",
}


def current_name(model: type[Options], name: str) -> str:
    """Return the name of an option that may be given by its old one; that warns."""
    new = RENAMED.get(name, name)
    if name == new or new not in model.model_fields:
        return name
    warnings.warn(f"The option '{name}' is now '{new}'.", FutureWarning, stacklevel=3)
    return new


_EXAMPLES = {"SECONDS": "600", "CREDITS": "2.50", "PORT": "8000", "N": "10"}


def on_the_line(model: type[Options], name: str) -> str:
    """Return how an option is written on a magic's line, such as ``--max-cost``."""
    field = model.model_fields.get(name)
    return name if field and extras(field).get("positional") else "--" + name.replace("_", "-")


def extras(field: FieldInfo) -> dict[str, Any]:
    """Return what ``flag_of`` says of a field."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def line_of(options: Options) -> str:
    """Return the line of a magic that has these options; options with their default are left out."""
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


def flag_of(
    *flags: str,
    metavar: str | None = None,
    positional: bool = False,
    completer: str | None = None,
    greedy: bool = False,
    needs: str = "",
) -> dict[str, Any]:
    """Describe how a field looks on a magic's line, if its name alone isn't enough.

    ``completer`` names what its values are completed from: machines, gpus, runs, settings, keys, paths or
    places (either of the last two). ``greedy`` lets a list take all the words that follow, where the
    magic's own words stand before. ``needs`` is the row of NEEDS for an option that does not work everywhere.
    """
    said = {"flags": list(flags), "metavar": metavar, "positional": positional, "completer": completer}
    return {**said, "greedy": greedy, "needs": needs}


#: What an option needs of the place where it is given → where it works.
NEEDS = {
    "cell": "in a cell, such as %%lk_run or %lk_run_notebook",
    "hints": "in a cell, such as %%lk_run, and in session.fan_out(...)",
    "several": "for several runs: session.fan_out(...), or %%lk_run with --gpu A100,H100 or --sweep",
    "code": "for code that is sent as text: session.run(...) and %%lk_run",
    "session": "in a cell, such as %%lk_run --session train, and in session.warm_python('train')",
    "waiting": "where the run is waited for: session.run(...) and %%lk_run",
}


def is_several(options: RunOptions) -> bool:
    """Whether the options ask for several runs, or for a run that is shown as several are."""
    return bool(options.sweep) or any("," in (wish or "") for wish in (options.gpu, options.machine))


def honored(options: M, place: str, lacks: Collection[str]) -> M:
    """Return the options if the place supports all of them. Raises UsageError."""
    for name in options.model_fields_set:
        field = type(options).model_fields[name]
        needs = extras(field).get("needs", "")
        if needs in lacks and getattr(options, name) != field.get_default(call_default_factory=True):
            raise UsageError(f"{place} doesn't support '{name}'. Nothing was sent. It works {NEEDS[needs]}.")
    return options


def _on_interrupt() -> Any:
    return Field(
        None,
        description="What an interrupt does to the run: abort it, or detach and keep it running. Default: "
        "setting on_interrupt.",
        json_schema_extra=flag_of(metavar="HOW", needs="waiting"),
    )


class MachineOptions(Options):
    """The machine of a run and its limits."""

    gpu: str | None = Field(
        None,
        description='GPU, such as A100. "A100|H100" takes the first that you may use.',
        json_schema_extra=flag_of(metavar="NAME", completer="gpus"),
    )
    machine: str | None = Field(
        None,
        description="Machine type, such as gpu.a100 or cpu, instead of --gpu.",
        json_schema_extra=flag_of(metavar="PROFILE", completer="machines"),
    )
    timeout: int | None = Field(
        None,
        ge=1,
        description="Time limit in seconds. Default: setting timeout. At most: setting max_timeout.",
        json_schema_extra=flag_of(metavar="SECONDS"),
    )
    max_cost: Decimal | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Stop the run before it costs more credits than this. Default: setting max_cost.",
        json_schema_extra=flag_of(metavar="CREDITS"),
    )


class StartOptions(MachineOptions):
    """Options of every run that can be followed."""

    name: str | None = Field(None, description="Display name of the run.")
    label: list[str] = Field([], description="Label to find the run by; may be repeated.")
    metadata: dict[str, str] = Field(
        {}, description="key=value to store with the run; may be repeated.", json_schema_extra=flag_of(metavar="K=V")
    )
    save: str | None = Field(
        None,
        description="Variable that receives the Run object.",
        json_schema_extra=flag_of(metavar="VAR", needs="cell"),
    )
    detach: bool = Field(
        default=False,
        description="Return at once; the run stays active and its log is updated in the background.",
        json_schema_extra=flag_of(needs="cell"),
    )
    on_interrupt: Literal["abort", "detach"] | None = _on_interrupt()
    quiet: bool = Field(
        default=False, description="Show only the receipt, not the log.", json_schema_extra=flag_of(needs="cell")
    )
    no_hints: bool = Field(
        default=False,
        description="Show no hints on failures or slow runs. For all runs: %lk_config doctor off.",
        json_schema_extra=flag_of(needs="hints"),
    )
    allow_secrets: bool = Field(False, description="Send the run even if it seems to contain a secret.")  # noqa: FBT003
    dry_run: bool = Field(
        default=False,
        description="Show the request and its highest possible cost; send nothing.",
        json_schema_extra=flag_of(needs="cell"),
    )


class RunOptions(StartOptions):
    """Options of ``%%lk_run`` and ``Session.run``."""

    gpu: str | None = Field(
        None,
        description='GPU, such as A100. "A100|H100" takes the first that you may use; A100,H100 starts one run '
        "on each.",
        json_schema_extra=flag_of(metavar="NAME", completer="gpus"),
    )
    machine: str | None = Field(
        None,
        description="Machine type, such as gpu.a100 or cpu, instead of --gpu. Commas start one run on each.",
        json_schema_extra=flag_of(metavar="PROFILE", completer="machines"),
    )
    requirements: list[str] = Field(
        [],
        description='Packages to install: a requirements file, names such as "torch>=2.4", or auto for what '
        "the cell imports, in this kernel's versions.",
        json_schema_extra=flag_of("-r", metavar="WHAT"),
    )
    files: list[str] = Field(
        [],
        description="Text files to upload, as paths or globs. Local modules that the cell imports are uploaded "
        "automatically.",
        json_schema_extra=flag_of(metavar="GLOB"),
    )
    arg: list[str] = Field(
        [],
        description="Argument for sys.argv; may be repeated.",
        json_schema_extra=flag_of(metavar="VALUE", needs="code"),
    )
    inputs: list[str] = Field(
        [],
        description="Variables of this notebook to upload, such as df,model. Unchanged ones aren't uploaded again.",
        json_schema_extra=flag_of("--in", metavar="NAMES", completer="variables", needs="code"),
    )
    in_all: bool = Field(
        default=False,
        description="Upload every variable that the cell reads.",
        json_schema_extra=flag_of(needs="code"),
    )
    outputs: list[str] = Field(
        [],
        description="Variables to download into this notebook when the run finishes, such as history,best.",
        json_schema_extra=flag_of("--out", metavar="NAMES", completer="variables", needs="code"),
    )
    pickle: bool = Field(
        default=False,
        description="Pickle values that have no other format. Python and packages must match on both sides.",
        json_schema_extra=flag_of(needs="code"),
    )
    carry: bool | None = Field(
        None,
        description="Upload all names that the cell reads; bring back its changes. Default: the setting carry.",
        json_schema_extra=flag_of(needs="code"),
    )
    sweep: list[str] = Field(
        [],
        description="Variable with one run for each value: lr=0.1,0.01. Several sweeps and machines are combined.",
        json_schema_extra=flag_of(metavar="NAME=A,B", needs="several"),
    )
    parallel: int | None = Field(
        None,
        ge=1,
        description="Maximum concurrent runs; the rest queue locally. Default: setting parallel.",
        json_schema_extra=flag_of(metavar="N", needs="several"),
    )
    metric: list[str] = Field(
        [],
        description="Number that the cell prints, to rank several runs: its name, such as accuracy, or a "
        "pattern with one group. Highest wins, lowest for a loss or error; NAME:min and NAME:max "
        "decide.",
        json_schema_extra=flag_of(metavar="NAME", needs="several"),
    )
    stop_on_first: bool = Field(
        default=False,
        description="Keep the first run that completes, and abort the others.",
        json_schema_extra=flag_of(needs="several"),
    )
    require_all: bool = Field(
        default=False,
        description="Raise an error if any of several runs fails, not only if all fail.",
        json_schema_extra=flag_of(needs="several"),
    )
    save: str | None = Field(
        None,
        description="Variable for the Run object; for several runs, the table as a DataFrame.",
        json_schema_extra=flag_of(metavar="VAR", needs="cell"),
    )
    resume: str | None = Field(
        None,
        description="Run to resume from: its checkpoint is the folder lk_resume in the code.",
        json_schema_extra=flag_of(metavar="ID", completer="runs", needs="code"),
    )
    attach: Literal["never", "auto"] = Field(
        "never",
        description="auto: if this cell already started the same code, follow that run; otherwise start a new one.",
        json_schema_extra=flag_of(metavar="WHEN", needs="code"),
    )
    session: str | None = Field(
        None,
        description="Session to run in: a warm Python that keeps its variables between cells. Started if necessary.",
        json_schema_extra=flag_of(metavar="NAME", needs="session"),
    )
    idle: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Minutes without work after which the session ends. Default: 20.",
        json_schema_extra=flag_of(metavar="MINUTES", needs="session"),
    )
    image: str | None = Field(
        None,
        description="Image of the session, such as quay.io/jupyter/pytorch-notebook. Default: "
        "jupyter/base-notebook:latest.",
        json_schema_extra=flag_of(metavar="IMAGE", needs="session"),
    )
    time: bool = Field(
        default=False,
        description="Show how long it took to the first line of the cell, by phase.",
        json_schema_extra=flag_of(needs="cell"),
    )
    rich: bool | None = Field(
        None,
        description="Show figures, tables and display() as they are made, and accept IPython syntax. Default: "
        "on for a cell, off for a script.",
    )


class ContainerOptions(StartOptions):
    """Options of runs of containers."""

    login: str | None = Field(
        None,
        description="User of the image's registry. The password is asked for once and kept in the keyring. aws "
        "uses the AWS_ variables of this kernel, for ECR.",
        json_schema_extra=flag_of(metavar="USER"),
    )
    reset_password: bool = Field(
        default=False, description="Ask for the password of --login again, and replace the stored one."
    )
    mount: bool | None = Field(
        None, description="Mount the bucket in the containers. Default: on for an image, off for a stack."
    )
    stop_timeout: int | None = Field(
        None,
        ge=1,
        le=300,
        description="Seconds between the stop signal and the kill. Default: 10.",
        json_schema_extra=flag_of(metavar="SECONDS"),
    )
    port: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        [],
        description="Port that the run listens on, to show its address; may be repeated.",
        json_schema_extra=flag_of("-p", metavar="PORT"),
    )


class DockerOptions(ContainerOptions):
    """Options of ``%%lk_docker`` and ``Session.run_image``."""

    image: str = Field(
        description="Image to run, such as python:3.11-slim or ghcr.io/team/app:1.",
        json_schema_extra=flag_of(metavar="IMAGE", positional=True),
    )
    env: list[str] = Field(
        [],
        description="NAME=value for the container's environment, or NAME to use this kernel's value; may be repeated.",
        json_schema_extra=flag_of("-e", metavar="NAME[=value]"),
    )
    user: str | None = Field(None, description="User in the container: a name, a uid or uid:gid.")
    mount_path: str | None = Field(
        None,
        description="Path where the bucket is mounted. Default: /mnt/s3.",
        json_schema_extra=flag_of(metavar="PATH"),
    )
    shell: bool | None = Field(
        None,
        description="Run the cell as a shell script of the image. --no-shell runs it as one command, for "
        "images without a shell. Default: on.",
    )


class ComposeOptions(ContainerOptions):
    """Options of ``%%lk_compose`` and ``Session.run_compose``."""


class ServerOptions(MachineOptions):
    """Options of a hosted Jupyter server, as in ``Session.start_notebook``."""

    timeout: int | None = Field(
        None,
        ge=1,
        description="Seconds until the server is stopped. Default and maximum: setting max_timeout.",
        json_schema_extra=flag_of(metavar="SECONDS"),
    )
    image: str = Field(
        "jupyter/base-notebook:latest",
        description="Image with a Jupyter server, such as quay.io/jupyter/pytorch-notebook.",
        json_schema_extra=flag_of(metavar="IMAGE"),
    )
    name: str | None = Field(None, description="Display name of the run.")
    mount: bool | None = Field(None, description="Mount the bucket at /mnt/s3. Default: on.")


class NotebookRunOptions(StartOptions):
    """Options of ``%lk_run_notebook`` and ``Session.run_notebook``."""

    notebook: str = Field(
        description="Path of the notebook.",
        json_schema_extra=flag_of(metavar="PATH", positional=True, completer="paths"),
    )
    parameter: dict[str, str] = Field(
        {},
        description="Variable to set in the notebook, after the cell tagged parameters or else at the top; may "
        "be repeated. Example: -p lr=0.1",
        json_schema_extra=flag_of("-p", metavar="NAME=VALUE"),
    )
    output: str | None = Field(
        None,
        description="Path of the executed notebook. Default: NAME.out.ipynb next to the notebook.",
        json_schema_extra=flag_of("-o", metavar="PATH", completer="paths"),
    )
    requirements: list[str] = Field(
        [],
        description='Packages to install: a requirements file or names such as "torch>=2.4"; may be repeated. '
        "nbclient and ipykernel are added.",
        json_schema_extra=flag_of("-r", metavar="WHAT"),
    )
    files: list[str] = Field(
        [],
        description="Text files to upload, as paths or globs in the notebook's folder, such as modules that it "
        "imports.",
        json_schema_extra=flag_of(metavar="GLOB"),
    )
    attach: Literal["never", "auto"] = Field(
        "never",
        description="auto: if this notebook already started with the same parameters, follow that run; "
        "otherwise start a new one.",
        json_schema_extra=flag_of(metavar="WHEN"),
    )


class OpenOptions(Options):
    """Options of ``%lk_open``."""

    run: str = Field(
        description="Id of the run, or its first characters.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="runs"),
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port in the run. Default: the port that the run was started with.",
        json_schema_extra=flag_of(metavar="PORT", positional=True),
    )
    no_browser: bool = Field(False, description="Show the address; don't open it.")  # noqa: FBT003


class NoOptions(Options):
    """Options of magics without options."""


class LoginOptions(Options):
    """Options of ``%lk_login``."""

    local: bool = Field(False, description="Use the local cloud on this machine; it is started if necessary.")  # noqa: FBT003
    browser: bool = Field(False, description="Sign in on the website, in a browser on this machine.")  # noqa: FBT003
    email: str | None = Field(
        None,
        description="E-mail address of an account; asks for its password instead of a key.",
        json_schema_extra=flag_of(metavar="ADDRESS"),
    )
    base_url: str | None = Field(
        None,
        description="Server to sign in to. Default: setting base_url.",
        json_schema_extra=flag_of(metavar="URL"),
    )


class ConfigOptions(Options):
    """Options of ``%lk_config``."""

    name: str | None = Field(
        None, description="Setting to show or change.", json_schema_extra=flag_of(positional=True, completer="settings")
    )
    value: str | None = Field(
        None, description="Value to store for you on this machine.", json_schema_extra=flag_of(positional=True)
    )
    unset: bool = Field(False, description="Delete the stored value.")  # noqa: FBT003


def _run_field() -> Any:
    return Field(
        description="Id of the run, or its first characters.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="runs"),
    )


class RunIdOptions(Options):
    """Options of the magics that take one run and nothing else."""

    run: str = _run_field()


class AttachOptions(Options):
    """Options of ``%lk_attach``."""

    run: str | None = Field(
        None,
        description="Id of the run, or its first characters. Default: the only active run.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="runs"),
    )
    save: str | None = Field(
        None, description="Variable that receives the Run object.", json_schema_extra=flag_of(metavar="VAR")
    )
    detach: bool = Field(False, description="Return at once; the log is updated in the background.")  # noqa: FBT003
    on_interrupt: Literal["abort", "detach"] | None = _on_interrupt()
    quiet: bool = Field(False, description="Show only the receipt, not the log.")  # noqa: FBT003
    take: list[str] = Field(
        [],
        description="Variables to set from a run that wasn't started here, such as model,losses. Never reads pickles.",
        json_schema_extra=flag_of(metavar="NAMES"),
    )
    rich: bool = Field(
        False,  # noqa: FBT003
        description="Show HTML, SVG and Markdown of a run that wasn't started here. They can run scripts here.",
    )


class WaitOptions(Options):
    """Options of ``%lk_wait``."""

    runs: list[str] = Field(
        [],
        description="Ids of runs, or their first characters. Default: all background runs of this notebook.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="runs"),
    )


class MachinesOptions(Options):
    """Options of ``%lk_machines``."""

    all: bool = Field(False, description="List machine types without a published price too.")  # noqa: FBT003


class DeleteRunOptions(Options):
    """Options of ``%lk_delete``."""

    run: str = _run_field()
    yes: bool = Field(False, description="Delete without asking.", json_schema_extra=flag_of("-y"))  # noqa: FBT003


class LogsOptions(Options):
    """Options of ``%lk_logs``."""

    run: str | None = Field(
        None,
        description="Id of the run, or its first characters. Default: the newest lines of all your runs.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="runs"),
    )
    limit: int = Field(
        1000, ge=1, le=10_000, description="Maximum number of lines.", json_schema_extra=flag_of(metavar="N")
    )
    hours: int = Field(24, ge=1, le=168, description="Hours to look back.", json_schema_extra=flag_of(metavar="H"))


class RunsOptions(Options):
    """Options of ``%lk_runs``."""

    limit: int = Field(
        20, ge=1, le=1000, description="Maximum number of finished runs.", json_schema_extra=flag_of("-n", metavar="N")
    )


class HistoryOptions(Options):
    """Options of ``%lk_history`` and ``Session.history``."""

    text: list[str] = Field(
        [],
        description="Words to search for in code, name, labels, metadata, notebook and error.",
        json_schema_extra=flag_of(positional=True),
    )
    machine: str | None = Field(
        None,
        description="Only runs on this machine type.",
        json_schema_extra=flag_of(metavar="NAME", completer="machines"),
    )
    state: str | None = Field(None, description="Only runs in this state, such as failed.")
    label: list[str] = Field([], description="Only runs with this label; may be repeated.")
    since: str | None = Field(
        None,
        description="Only runs started since: a duration such as 7d, 12h or 30m, or a date.",
        json_schema_extra=flag_of(metavar="WHEN"),
    )
    notebook: str | None = Field(
        None, description="Only runs of this notebook.", json_schema_extra=flag_of(metavar="NAME")
    )
    limit: int = Field(
        50, ge=1, le=100_000, description="Maximum number of runs.", json_schema_extra=flag_of("-n", metavar="N")
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
        description="Another machine: a machine type, or a GPU such as A100.",
        json_schema_extra=flag_of(metavar="NAME", completer="machines"),
    )
    save: str | None = Field(
        None, description="Variable that receives the Run object.", json_schema_extra=flag_of(metavar="VAR")
    )
    detach: bool = Field(
        default=False, description="Return at once; the run stays active and its log is updated in the background."
    )
    on_interrupt: Literal["abort", "detach"] | None = _on_interrupt()
    quiet: bool = Field(False, description="Show only the receipt, not the log.")  # noqa: FBT003


class ExportOptions(Options):
    """Options of ``%lk_export``."""

    run: str = _run_field()
    file: str | None = Field(
        None, description="File to write. Default: show the script.", json_schema_extra=flag_of(positional=True)
    )


class LsOptions(Options):
    """Options of ``%lk_ls``."""

    folder: str = Field(
        "",
        description="Folder, file or pattern such as data/*.csv. Default: the entire bucket.",
        json_schema_extra=flag_of(positional=True, completer="keys"),
    )
    recursive: bool = Field(False, description="List subfolders too.", json_schema_extra=flag_of("-r"))  # noqa: FBT003
    tree: bool = Field(False, description="Show folders and files as a tree.")  # noqa: FBT003
    limit: int = Field(
        100, ge=1, le=100_000, description="Maximum number of items.", json_schema_extra=flag_of("-n", metavar="N")
    )


class PutOptions(Options):
    """Options of ``%lk_put``."""

    source: str = Field(
        description="File, folder, or pattern such as *.csv on this machine.",
        json_schema_extra=flag_of(positional=True, completer="paths"),
    )
    key: str = Field(
        "",
        description="Key, or a folder ending with a slash, in the bucket. Default: the source's name.",
        json_schema_extra=flag_of(positional=True, completer="keys"),
    )
    overwrite: bool = Field(False, description="Replace files that have different content.")  # noqa: FBT003


class GetOptions(Options):
    """Options of ``%lk_get``."""

    key: str = Field(
        description="Key of a file, or a folder ending with a slash.",
        json_schema_extra=flag_of(positional=True, completer="keys"),
    )
    target: str = Field(
        ".",
        description="File or folder on this machine.",
        json_schema_extra=flag_of(positional=True, completer="paths"),
    )
    checksum: bool = Field(False, description="Read the downloaded file again and compare its checksum.")  # noqa: FBT003


class SyncOptions(Options):
    """Options of ``%lk_sync``."""

    source: str = Field(
        description="Source folder; in the bucket with lk:// in front.",
        json_schema_extra=flag_of(positional=True, completer="places"),
    )
    target: str = Field(
        description="Target folder, made equal to the source; in the bucket with lk:// in front.",
        json_schema_extra=flag_of(positional=True, completer="places"),
    )
    delete: bool = Field(False, description="Delete files that only the target has.")  # noqa: FBT003
    checksum: bool = Field(False, description="Compare the content of all files, not only size and time.")  # noqa: FBT003


class RmOptions(Options):
    """Options of ``%lk_rm``."""

    keys: list[str] = Field(
        description="Keys, patterns such as data/*.csv, or folders ending with a slash.",
        json_schema_extra=flag_of(metavar="KEY", positional=True, completer="keys"),
    )
    yes: bool = Field(False, description="Delete without asking.", json_schema_extra=flag_of("-y"))  # noqa: FBT003


class LoadOptions(Options):
    """Options of ``%lk_load``."""

    key: str = Field(
        description="Key of a file; its suffix decides how it is loaded.",
        json_schema_extra=flag_of(positional=True, completer="keys"),
    )
    save: str | None = Field(
        None, description="Variable that receives the value.", json_schema_extra=flag_of("--as", metavar="VAR")
    )
    sample: int | None = Field(
        None, ge=1, description="Load only the first rows or lines.", json_schema_extra=flag_of(metavar="N")
    )
    columns: list[str] = Field(
        [],
        description="Load only these columns, such as price,size.",
        json_schema_extra=flag_of("-c", metavar="NAME", greedy=True),
    )
