"""The options of a local cloud."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from lk_jupyter.config.assumptions import ROUTE
from lk_jupyter.localcloud.billing.catalogue import PRICES

#: The maximum credits of a single grant.
MOST_CREDITS = 1_000_000

#: The fastest clock: a day in 0.1 seconds.
MOST_SPEED = 864_000.0

_FOLDER, _IMAGE_FOLDER = "/job/work", "/lyceum/storage"

#: Switch of --strange → the value of the assumption of this name while the switch is on. A recording has other values.
VALUES = {
    "bucket_folder_python": _FOLDER,
    "bucket_folder_image": _IMAGE_FOLDER,
    "chat_prefix": "/openai/v1",
    "router_prefix": ROUTE,
    "batch_prefix": "/openai/v1",
    "longest_run": "300",
    "notebook_limit": "200",
    "final_words": "finalized=completed,broken_off=failed",
    "absent_operations": "GET /storage/block,DELETE /storage/block/{volume_id},GET /execution/{execution_id}/timing,"
    "POST /voucher/validate",
    "refused_fields": "metadata",
    "signin_lookup": "GET /user/status",
}

#: Switch of --strange → effect. Each switch has the name of the broken assumption.
SWITCHES = {
    "bucket_folder_python": f"mount the bucket at {_FOLDER} in Python runs, but don't set LK_STORAGE",
    "bucket_folder_image": f"mount the bucket at {_IMAGE_FOLDER} in a container if a request names no folder",
    "deployment_gpu_field": "read the GPU of a deployment from gpu_type, and refuse hardware_profile",
    "chat_prefix": "serve models, chat and embeddings only below /openai/v1",
    "router_prefix": "accept lyceum/router and similar models only at POST /serverless/route",
    "batch_prefix": "serve batches and their files only below /openai/v1",
    "longest_run": f"refuse a timeout above {VALUES['longest_run']}",
    "notebook_limit": f"refuse a timeout above {VALUES['notebook_limit']} for hosted Jupyter servers",
    "final_words": "name the final states 'finalized' and 'broken_off' instead of 'completed' and 'failed'",
    "bucket_creation": "have no bucket until a client creates one",
    "frames": "remove control characters from streams, records and stored logs",
    "newlines": "double each line break of a stream",
    "stream_method": "stream only for GET",
    "stream_auth": "stream only to callers with a token",
    "late_attach": "stream only new output, and nothing for a run that has ended",
    "absent_operations": "have no block volumes, timings and vouchers",
    "gpu_selection": "have no GPU selection",
    "pricing_count": "add the number of prices to the answer of GET /pricing",
    "metadata_echo": "return no metadata of runs and batches",
    "refused_fields": "refuse metadata in requests that start runs and batches",
    "import_files": "ignore the files in a request that starts a Python run",
    "working_folder": "let all Python runs of an organization work in one folder",
    "kernel_state": "put the state of the interpreter into the record of each run",
    "start_answer": "answer a request that starts a run with HTTP 202 and no id",
    "abort_answer": "answer a request that aborts or stops something with HTTP 204 and no body",
    "signin_lookup": "have no GET /machine-types",
}


@dataclass(frozen=True)
class CloudOptions:
    """Options of a server; lifetimes are in seconds of the real clock, independent of ``clock_speed``."""

    credits: Decimal = Decimal(100)
    vouchers: tuple[tuple[str, Decimal], ...] = ()
    quota: tuple[str, ...] = tuple(PRICES)
    access_seconds: int = 86_400
    refresh_seconds: int = 30 * 86_400
    s3_credential_seconds: int = 3600
    storage_bytes: int | None = None
    no_capacity: tuple[str, ...] = ()
    simulate_gpu: bool = False
    clock_speed: float = 1.0
    inference_upstream: str | None = None
    longest_run: int | None = None
    shorten_runs: bool = False
    vm_address_seconds: float = 0.0
    vm_reclaim_seconds: float | None = None
    vm_ssh_blocked: bool = False
    faults: bool = False
    strange: tuple[str, ...] = ()
    replay: Path | None = None
    engine: str = "auto"
