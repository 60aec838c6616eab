"""Types of the keyword arguments of calls that accept options.

Made from lk_jupyter.options.calls by ``make docs``: change the options.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypedDict


class RunKeywords(TypedDict, total=False):
    """Options of ``session.run``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" is the first that you may use; any is the cheapest available;
    A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Commas start one run on each."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto for imports, or project for its lock."""
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    attach: Literal["never", "auto"] | None
    """auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run."""
    nproc: int | None
    """Processes that run the code, one for each GPU, with the environment of torchrun. Default: 1."""
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
    """Run in a fresh process: send no variables, return none."""
    secret: list[str] | tuple[str, ...] | None
    """Stored secret that the code can read; may be repeated. Default: all stored secrets."""
    on: Literal["run", "vm"] | None
    """vm: rent a VM for the cell and delete the VM at the end. Default: run. If --timeout is too long for a run, you
    are asked about a VM.
    """
    spot: bool | None
    """With --on vm: pay less for a VM that the cloud may reclaim at any time."""
    retries: int | None
    """With --on vm: maximum number of VMs that replace a failed or reclaimed VM. Each continues from the last
    checkpoint.
    """
    relay: bool | None
    """Continue in more runs until --timeout. Each run restores the files of lk_jupyter.checkpoint_folder()."""
    volume: str | None
    """With --on vm: volume to attach, or new:GB. Its folder is LK_VOLUME in the code; it stays and is billed."""
    no_vm_key: bool | None
    """With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active."""
    resume: str | None
    """Id of the run to resume from. Your code finds the checkpoint of this run in the folder lk_resume."""
    stage: list[str] | tuple[str, ...] | None
    """Folder of the bucket to copy to the run's disk first, as KEY:FOLDER or KEY:volume/FOLDER; may be repeated."""
    image: str | None
    """Image for the cell, such as pytorch/pytorch. With --session or --keep, an image with Jupyter."""
    rich: bool | None
    """Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off
    for a script.
    """


class FanOutKeywords(TypedDict, total=False):
    """Options of ``session.fan_out``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" is the first that you may use; any is the cheapest available;
    A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Commas start one run on each."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    no_hints: bool | None
    """Show no hints on failures or slow runs. For all runs: %lk_config hints off."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto for imports, or project for its lock."""
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    attach: Literal["never", "auto"] | None
    """auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run."""
    nproc: int | None
    """Processes that run the code, one for each GPU, with the environment of torchrun. Default: 1."""
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
    """Run in a fresh process: send no variables, return none."""
    secret: list[str] | tuple[str, ...] | None
    """Stored secret that the code can read; may be repeated. Default: all stored secrets."""
    sweep: list[str] | tuple[str, ...] | None
    """Variable with one run for each value: lr=0.1,0.01. Several sweeps and machines are combined."""
    parallel: int | None
    """Maximum concurrent runs; the rest queue locally. Default: setting parallel."""
    metric: list[str] | tuple[str, ...] | None
    """Printed number that ranks several runs: its name, such as accuracy, or a pattern with one group. The highest
    number is best, or the lowest loss or error. NAME:min or NAME:max overrides this.
    """
    stop_on_first: bool | None
    """Keep the first run that completes, and abort the others."""
    require_all: bool | None
    """Raise an error if any of several runs fails, not only if all fail."""
    on: Literal["run", "vm"] | None
    """vm: rent a VM for the cell and delete the VM at the end. Default: run. If --timeout is too long for a run, you
    are asked about a VM.
    """
    spot: bool | None
    """With --on vm: pay less for a VM that the cloud may reclaim at any time."""
    retries: int | None
    """With --on vm: maximum number of VMs that replace a failed or reclaimed VM. Each continues from the last
    checkpoint.
    """
    relay: bool | None
    """Continue in more runs until --timeout. Each run restores the files of lk_jupyter.checkpoint_folder()."""
    volume: str | None
    """With --on vm: volume to attach, or new:GB. Its folder is LK_VOLUME in the code; it stays and is billed."""
    no_vm_key: bool | None
    """With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active."""
    resume: str | None
    """Id of the run to resume from. Your code finds the checkpoint of this run in the folder lk_resume."""
    stage: list[str] | tuple[str, ...] | None
    """Folder of the bucket to copy to the run's disk first, as KEY:FOLDER or KEY:volume/FOLDER; may be repeated."""
    image: str | None
    """Image for the cell, such as pytorch/pytorch. With --session or --keep, an image with Jupyter."""
    rich: bool | None
    """Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off
    for a script.
    """


class ImageKeywords(TypedDict, total=False):
    """Options of ``session.run_image``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" is the first GPU that you may use; any is the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    login: str | None
    """User of the image's registry. The password is asked for once and kept in the keyring. aws uses the AWS_
    variables of this kernel, for ECR.
    """
    reset_password: bool | None
    """Prompt for the password of --login again, and replace the stored password."""
    mount: bool | None
    """Mount the bucket in the containers. Default: on for an image, off for a stack."""
    stop_timeout: int | str | None
    """Time that the container has to stop after the stop signal, such as 30s. Default: 10 s."""
    port: list[int] | tuple[int, ...] | None
    """Port that the run listens on, to show its address; may be repeated."""
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
    """GPU, such as A100. "A100|H100" is the first GPU that you may use; any is the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    login: str | None
    """User of the image's registry. The password is asked for once and kept in the keyring. aws uses the AWS_
    variables of this kernel, for ECR.
    """
    reset_password: bool | None
    """Prompt for the password of --login again, and replace the stored password."""
    mount: bool | None
    """Mount the bucket in the containers. Default: on for an image, off for a stack."""
    stop_timeout: int | str | None
    """Time that the container has to stop after the stop signal, such as 30s. Default: 10 s."""
    port: list[int] | tuple[int, ...] | None
    """Port that the run listens on, to show its address; may be repeated."""


class NotebookKeywords(TypedDict, total=False):
    """Options of ``session.run_notebook``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" is the first GPU that you may use; any is the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    on_interrupt: Literal["abort", "detach"] | None
    """What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto for imports, or project for its lock."""
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    attach: Literal["never", "auto"] | None
    """auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run."""
    parameter: dict[str, str] | None
    """Variable to set in the notebook, after the cell tagged parameters or else at the top; may be repeated.
    Example: -p lr=0.1
    """
    output: str | None
    """Path of the executed notebook. Default: NAME.out.ipynb next to the notebook."""


class ServerKeywords(TypedDict, total=False):
    """Options of ``session.start_notebook``."""

    gpu: str | None
    """GPU, such as A100. "A100|H100" is the first GPU that you may use; any is the cheapest available GPU."""
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
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
    """GPU, such as A100 or 4xA100. "A100|H100" is the first that you may use; any is the cheapest available;
    A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Commas start one run on each."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    idle: float | None
    """Minutes without work after which the session ends. Default: 20."""
    image: str | None
    """Image for the cell, such as pytorch/pytorch. With --session or --keep, an image with Jupyter."""


class CellKeywords(TypedDict, total=False):
    """Options of ``run_code``."""

    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto for imports, or project for its lock."""
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
    """Run in a fresh process: send no variables, return none."""


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
    """List changes and deletions instead of runs: of keys, members, VMs, deployments and secrets."""
    limit: int | None
    """Maximum number of runs."""


class ClusterKeywords(TypedDict, total=False):
    """Options of ``LyceumCluster``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" is the first that you may use; any is the cheapest available;
    A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Commas start one run on each."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto for imports, or project for its lock."""
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    spot: bool | None
    """With --on vm: pay less for a VM that the cloud may reclaim at any time."""
    volume: str | None
    """With --on vm: volume to attach, or new:GB. Its folder is LK_VOLUME in the code; it stays and is billed."""
    no_vm_key: bool | None
    """With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active."""


class ExecutorKeywords(TypedDict, total=False):
    """Options of ``Executor``."""

    gpu: str | None
    """GPU, such as A100 or 4xA100. "A100|H100" is the first that you may use; any is the cheapest available;
    A100,H100 starts one run on each.
    """
    machine: str | None
    """Machine type, such as gpu.a100 or cpu, instead of --gpu. Commas start one run on each."""
    memory: float | None
    """Minimum GPU memory, in GiB. With --gpu any, the cheapest match runs."""
    max_price: Decimal | float | str | None
    """Maximum price of the machine, in credits per hour."""
    timeout: int | str | None
    """Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. At most: setting max_timeout."""
    max_cost: Decimal | float | str | None
    """Stop the run before it costs more credits than this. Default: setting max_cost."""
    name: str | None
    """Display name of the run."""
    label: list[str] | tuple[str, ...] | None
    """Label of the run, for searches; may be repeated."""
    metadata: dict[str, str] | None
    """key=value to store; may be repeated."""
    allow_secrets: bool | None
    """Send the run even if it seems to contain a secret."""
    requirements: list[str] | tuple[str, ...] | None
    """Packages: names such as 'torch>=2.4', a requirements file, auto for imports, or project for its lock."""
    files: list[str] | tuple[str, ...] | None
    """Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically."""
    keep: int | str | None
    """Keep the machine for this time between cells, such as 5m: cells share one Python process. 0: a separate run."""
    image: str | None
    """Image for the cell, such as pytorch/pytorch. With --session or --keep, an image with Jupyter."""
    rich: bool | None
    """Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off
    for a script.
    """
