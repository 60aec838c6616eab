"""Types of the keyword arguments of calls that accept options.

Made from lk_jupyter.options.calls by ``make docs``: change the options.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypedDict


class RunKeywords(TypedDict, total=False):
    """Options of ``session.run``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" uses the first GPU that you may use; any uses the cheapest available
    GPU; A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock
    file).
    """
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    attach: Literal["never", "auto"] | None
    """auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run."""
    nproc: int | None
    """Number of processes that run the code, one for each GPU, with the environment of torchrun. Default: 1."""
    arg: list[str] | tuple[str, ...] | None
    """Argument for sys.argv; may be repeated."""
    in_all: bool | None
    """Upload every variable that the cell reads."""
    pickle: bool | None
    """Pickle values that have no other format. Python and packages must match on both sides."""
    sync: bool | None
    """Send the variables that the cell reads, and return the changed variables. The setting carry makes this the
    default.
    """
    fresh: bool | None
    """Run in a fresh process. No variables are sent or returned."""
    secret: list[str] | tuple[str, ...] | None
    """Stored secret that the code can read; may be repeated. Default: all stored secrets."""
    on: Literal["run", "vm"] | None
    """vm: rent a VM for the cell and delete the VM at the end. Default: run. If --timeout is too long for a run, you
    are asked whether to rent a VM.
    """
    spot: bool | None
    """With --on vm: pay less for a VM that the cloud may reclaim at any time."""
    retries: int | None
    """With --on vm: maximum number of new VMs after a VM fails or is reclaimed. Each new VM continues from the last
    checkpoint.
    """
    relay: bool | None
    """Continue in another run after each run's time limit, until --timeout. Each run restores the files of
    lk_jupyter.checkpoint_folder().
    """
    volume: str | None
    """With --on vm: volume to attach, or new:GB. In the code, LK_VOLUME is its folder. The volume stays and is
    billed.
    """
    no_vm_key: bool | None
    """With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active."""
    resume: str | None
    """Id of the run to resume from. Your code finds the checkpoint of this run in the folder lk_resume."""
    stage: list[str] | tuple[str, ...] | None
    """Bucket folder to copy to the run's disk before the code starts, as KEY:FOLDER or KEY:volume/FOLDER; may be
    repeated.
    """
    image: str | None
    """Image for the cell, such as pytorch/pytorch. --session and --keep need an image with Jupyter."""
    rich: bool | None
    """Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off
    for a script.
    """


class FanOutKeywords(TypedDict, total=False):
    """Options of ``session.fan_out``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" uses the first GPU that you may use; any uses the cheapest available
    GPU; A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    no_hints: bool | None
    """Show no hints about failed or slow runs. To turn off the hints for all runs: %lk_config hints off."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock
    file).
    """
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    attach: Literal["never", "auto"] | None
    """auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run."""
    nproc: int | None
    """Number of processes that run the code, one for each GPU, with the environment of torchrun. Default: 1."""
    arg: list[str] | tuple[str, ...] | None
    """Argument for sys.argv; may be repeated."""
    in_all: bool | None
    """Upload every variable that the cell reads."""
    pickle: bool | None
    """Pickle values that have no other format. Python and packages must match on both sides."""
    sync: bool | None
    """Send the variables that the cell reads, and return the changed variables. The setting carry makes this the
    default.
    """
    fresh: bool | None
    """Run in a fresh process. No variables are sent or returned."""
    secret: list[str] | tuple[str, ...] | None
    """Stored secret that the code can read; may be repeated. Default: all stored secrets."""
    sweep: list[str] | tuple[str, ...] | None
    """Variable and its values, such as lr=0.1,0.01. Each value gets one run. Several sweeps and machines are
    combined.
    """
    parallel: int | None
    """Maximum concurrent runs; the rest queue locally. Default: setting parallel."""
    metric: list[str] | tuple[str, ...] | None
    """Name of the printed number that ranks several runs, such as accuracy, or a pattern with one group. The highest
    number is best; for a loss or an error, the lowest. NAME:min or NAME:max overrides this.
    """
    stop_on_first: bool | None
    """Keep the first run that completes, and abort the others."""
    require_all: bool | None
    """Raise an error if any of several runs fails. Default: only if all fail."""
    on: Literal["run", "vm"] | None
    """vm: rent a VM for the cell and delete the VM at the end. Default: run. If --timeout is too long for a run, you
    are asked whether to rent a VM.
    """
    spot: bool | None
    """With --on vm: pay less for a VM that the cloud may reclaim at any time."""
    retries: int | None
    """With --on vm: maximum number of new VMs after a VM fails or is reclaimed. Each new VM continues from the last
    checkpoint.
    """
    relay: bool | None
    """Continue in another run after each run's time limit, until --timeout. Each run restores the files of
    lk_jupyter.checkpoint_folder().
    """
    volume: str | None
    """With --on vm: volume to attach, or new:GB. In the code, LK_VOLUME is its folder. The volume stays and is
    billed.
    """
    no_vm_key: bool | None
    """With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active."""
    resume: str | None
    """Id of the run to resume from. Your code finds the checkpoint of this run in the folder lk_resume."""
    stage: list[str] | tuple[str, ...] | None
    """Bucket folder to copy to the run's disk before the code starts, as KEY:FOLDER or KEY:volume/FOLDER; may be
    repeated.
    """
    image: str | None
    """Image for the cell, such as pytorch/pytorch. --session and --keep need an image with Jupyter."""
    rich: bool | None
    """Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off
    for a script.
    """


class ImageKeywords(TypedDict, total=False):
    """Options of ``session.run_image``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" chooses the first GPU that you may use; any chooses the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    login: str | None
    """User of the image's registry. You are asked for the password once, and the keyring stores it. For ECR, aws
    uses the AWS_ variables of this kernel.
    """
    reset_password: bool | None
    """Prompt for the password of --login again, and replace the stored password."""
    mount: bool | None
    """Mount the bucket in the containers. Default: on for an image, off for a stack."""
    stop_timeout: int | str | None
    """Time that the container has to stop after the stop signal, such as 30s. Default: 10 s."""
    port: list[int] | tuple[int, ...] | None
    """Port that the run listens on; the address of the port is shown. May be repeated."""
    env: list[str] | tuple[str, ...] | None
    """NAME=value for the container's environment, or NAME to use this kernel's value; may be repeated."""
    user: str | None
    """User in the container: a name, a uid or uid:gid."""
    mount_path: str | None
    """Path where the bucket is mounted. Default: /mnt/s3."""
    shell: bool | None
    """Run the cell as a shell script in the container. --no-shell runs it as one command, for images without a
    shell. Default: on.
    """


class ComposeKeywords(TypedDict, total=False):
    """Options of ``session.run_compose``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" chooses the first GPU that you may use; any chooses the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    login: str | None
    """User of the image's registry. You are asked for the password once, and the keyring stores it. For ECR, aws
    uses the AWS_ variables of this kernel.
    """
    reset_password: bool | None
    """Prompt for the password of --login again, and replace the stored password."""
    mount: bool | None
    """Mount the bucket in the containers. Default: on for an image, off for a stack."""
    stop_timeout: int | str | None
    """Time that the container has to stop after the stop signal, such as 30s. Default: 10 s."""
    port: list[int] | tuple[int, ...] | None
    """Port that the run listens on; the address of the port is shown. May be repeated."""


class NotebookKeywords(TypedDict, total=False):
    """Options of ``session.run_notebook``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" chooses the first GPU that you may use; any chooses the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock
    file).
    """
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    attach: Literal["never", "auto"] | None
    """auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run."""
    parameter: dict[str, str] | None
    """Variable to set in the notebook: after the cell with the tag parameters, or at the top without such a cell;
    may be repeated. Example: -p lr=0.1
    """
    output: str | None
    """Path of the executed notebook. Default: NAME.out.ipynb next to the notebook."""


class ServerKeywords(TypedDict, total=False):
    """Options of ``session.start_notebook``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" chooses the first GPU that you may use; any chooses the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time until the server is stopped, such as 2h. Default and maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    image: str | None
    """Image with a Jupyter server, such as quay.io/jupyter/pytorch-notebook."""
    name: str | None
    """Display name of the run."""
    mount: bool | None
    """Mount the bucket at /mnt/s3. Default: on."""


class WarmPythonKeywords(TypedDict, total=False):
    """Options of ``session.warm_python``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" uses the first GPU that you may use; any uses the cheapest available
    GPU; A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    idle: float | None
    """Minutes without work after which the session ends, unless its time limit ends earlier. Default: 20."""
    image: str | None
    """Image for the cell, such as pytorch/pytorch. --session and --keep need an image with Jupyter."""


class CellKeywords(TypedDict, total=False):
    """Options of ``run_code``."""

    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock
    file).
    """
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    in_all: bool | None
    """Upload every variable that the cell reads."""
    pickle: bool | None
    """Pickle values that have no other format. Python and packages must match on both sides."""
    sync: bool | None
    """Send the variables that the cell reads, and return the changed variables. The setting carry makes this the
    default.
    """
    fresh: bool | None
    """Run in a fresh process. No variables are sent or returned."""


class HistoryKeywords(TypedDict, total=False):
    """Options of ``session.history``."""

    machine: str | None
    """Only runs on this machine type."""
    state: str | None
    """Only runs in this state, such as failed."""
    label: list[str] | tuple[str, ...] | None
    """Only runs with this label; may be repeated."""
    since: str | None
    """Only runs that started since a date, or within a duration such as 7d, 12h or 30m."""
    notebook: str | None
    """Only runs of this notebook."""
    audit: bool | None
    """Instead of runs, list changes and deletions of keys, members, VMs, deployments and secrets."""
    limit: int | None
    """Maximum number of runs."""


class ClusterKeywords(TypedDict, total=False):
    """Options of ``LyceumCluster``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" uses the first GPU that you may use; any uses the cheapest available
    GPU; A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock
    file).
    """
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    spot: bool | None
    """With --on vm: pay less for a VM that the cloud may reclaim at any time."""
    volume: str | None
    """With --on vm: volume to attach, or new:GB. In the code, LK_VOLUME is its folder. The volume stays and is
    billed.
    """
    no_vm_key: bool | None
    """With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active."""


class ExecutorKeywords(TypedDict, total=False):
    """Options of ``Executor``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" uses the first GPU that you may use; any uses the cheapest available
    GPU; A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """Metadata to store with the run, as key=value; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock
    file).
    """
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    keep: int | str | None
    """Keep the machine for this time between cells, such as 5m. Cells share one Python process. With 0, each cell is
    a separate run.
    """
    image: str | None
    """Image for the cell, such as pytorch/pytorch. --session and --keep need an image with Jupyter."""
    rich: bool | None
    """Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off
    for a script.
    """
