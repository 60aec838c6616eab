"""Run a cell in a container image: the command of an image run contains the code, which the image's Python executes.

The API gives files to runs of Python only. So the command contains all files, and the record of the run contains the
command. Links to the bucket and signing keys are secrets and are not sent: such a run uploads no large variables and
returns none.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import DockerExecutionRequest, StreamingExecutionRequest
from lk_jupyter.code.variables import is_imported, named, read_in
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import CODE, add_token_to_name, is_internal
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.code.source import Source
    from lk_jupyter.options.runs import RunOptions
    from lk_jupyter.runs.variables.payload import VariablePayload

IMAGE = re.compile(r"[a-zA-Z0-9][\w.\-/:@]*", re.ASCII)

#: Bytes of an argument of the command, of which Linux allows 131,071, and of all arguments: Linux allows about 2 MB.
ARGUMENT_BYTES, MOST_BYTES = 96 * 1024, 1_000_000

#: Our names in code that saves a checkpoint or resumes from one.
_CHECKPOINTS = re.compile(r"\b(?:lk_checkpoint|lk_resume|checkpoint_folder|lk_jupyter(?:\.| import .*)\bCheckpoint)\b")

#: The oldest Python that executes the modules of ``remote``.
_OLDEST = "3.8"

_NO_PYTHON = (
    "This image has no Python. The code didn't start. "
    f"Choose an image with Python {_OLDEST} or later, or run a script: %%lk_docker"
)

#: The shell script of the command: execute the arguments with the image's Python.
_LAUNCH = (
    'for python in python3 python; do if command -v "$python" >/dev/null 2>&1; then exec "$python" -c "$@"; fi; done; '
    f'echo "{_NO_PYTHON}" >&2; exit 127'
)

#: The folder of the author's files, in which the code runs if it has files.
_FILES = "files"

#: The program that writes the files and starts the code. Every Python reads it, so that an old one is reported.
_BOOT = f"""import sys
if sys.version_info < (3, 8):
    sys.exit("This image has Python %s. The code didn't start. Choose an image with Python {_OLDEST} or later."
             % sys.version.split()[0])
import base64, json, os, tempfile, zlib
script, code_file, code = sys.argv[1:4]
files = json.loads(zlib.decompress(base64.b64decode("".join(sys.argv[4:]))))
files[code_file] = code
root = tempfile.mkdtemp(prefix="_lk_")
for name, text in files.items():
    path = os.path.join(root, *name.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
folder = os.path.join(root, "{_FILES}")
paths = [folder] if os.path.isdir(folder) else []
paths += [os.getcwd(), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
if paths[0] == folder:
    os.chdir(folder)
os.execv(sys.executable, [sys.executable, "-u", os.path.join(root, script)])
"""

_BUCKET = "Write results to the bucket, which is mounted in the image at {mount}, and load them: %lk_load lk://KEY"

#: Options that a run in an image can't honor → the advice.
_UNSUPPORTED = {
    "outputs": f"An image run returns no variables. {_BUCKET}",
    "sync": f"An image run returns no variables. {_BUCKET}",
    "stage": "The bucket is mounted in the image at {mount}. Read the files there, or leave out --image.",
    "resume": "Leave out --image.",
    "spot": "Leave out --image, or --spot.",
    "on": "Leave out --image, or --on.",
}


def require_image_cell(source: Source, options: RunOptions, mount: str) -> None:
    """Refuse code and options that can't run in an image. ``mount`` is the folder of the bucket. Raises UsageError."""
    if not IMAGE.fullmatch(options.image or ""):
        raise UsageError(f"--image: '{options.image}' isn't an image. Nothing was sent. Example: --image python:3.12")
    for name, advice in _UNSUPPORTED.items():
        if getattr(options, name):
            flag = {"outputs": "out"}.get(name, name)
            raise UsageError(f"--{flag} doesn't work with --image. Nothing was sent. {advice.format(mount=mount)}")
    if _CHECKPOINTS.search(source.code):
        raise UsageError(
            "Checkpoints don't work with --image. Nothing was sent. Write the files to the bucket, which is "
            f"mounted in the image at {mount}, or leave out --image."
        )
    if source.is_cell and not options.in_all:
        _refuse_unsent_variables(source, named("in", options.inputs))


def _refuse_unsent_variables(source: Source, inputs: list[str]) -> None:
    """Refuse a cell that reads variables of the notebook without an option that sends them. Raises UsageError."""
    missing = [name for name in read_in(source) if name not in inputs]
    imported = [name for name in missing if is_imported(source.namespace[name])]
    names = imported or missing
    if names:
        quoted = ", ".join(f"'{name}'" for name in names)
        fix = "Import it in the cell." if imported else f"Send it: --in {','.join(names)}"
        raise UsageError(
            f"The cell reads {quoted} of this notebook, and a run in an image starts without it. Nothing was sent. "
            f"{fix}"
        )


def require_inline(payload: VariablePayload, mount: str) -> None:
    """Refuse variables that don't fit into the command. Raises UsageError."""
    if payload.blobs:
        largest = max(payload.inputs, key=lambda variable: variable.size)
        raise UsageError(
            f"--in: {largest} is too large for the command of an image run. Nothing was sent. Store it in the bucket "
            f"with %lk_put, and read it at {mount}."
        )


def image_request(request: StreamingExecutionRequest, image: str, mount: str, token: str) -> DockerExecutionRequest:
    """Return the request of an image run that executes the code of a request. Raises UsageError if it is too large.

    ``mount`` is the folder at which the container sees the bucket.
    """
    uploads: dict[str, str] = json.loads(request.import_files or "{}")
    files = {name if is_internal(name) else f"{_FILES}/{name}": text for name, text in uploads.items()}
    script = add_token_to_name(request.file_name or "cell.py", token)
    files[script] = request.code
    code_file = CODE if CODE in files else script
    code = files.pop(code_file)
    packed = b64encode(zlib.compress(json.dumps(files).encode(), 9)).decode()
    pieces = [packed[at : at + ARGUMENT_BYTES] for at in range(0, len(packed), ARGUMENT_BYTES)]
    code_size = len(code.encode())
    size = code_size + len(packed)
    if size > MOST_BYTES or code_size > ARGUMENT_BYTES:
        most = MOST_BYTES if size > MOST_BYTES else ARGUMENT_BYTES
        raise UsageError(
            f"--image: code and files have {size_label(size)} in the command of the run, above the maximum of "
            f"{size_label(most)}. Nothing was sent. Store files in the bucket with %lk_put, and read them at {mount}."
        )
    return DockerExecutionRequest(
        docker_image_ref=image,
        docker_run_cmd=["sh", "-c", _LAUNCH, "lk_run", _BOOT, script, code_file, code, *pieces],
        enable_s3_mount=True,
        s3_mount_path=mount,
        execution_type=request.execution_type,
        file_name=request.file_name,
        run_name=request.run_name,
        labels=request.labels,
        metadata=request.metadata,
    )
