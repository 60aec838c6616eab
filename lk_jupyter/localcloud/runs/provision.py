"""Give a run the secrets of the organization, and the bucket as a folder.

The folder is at ``/mnt/s3`` if the system lets a process have private mounts; LK_STORAGE always contains the path. A
run gets the folder if the run's code or secrets mention either name, or if the bucket is in use already, because the
folder needs a server. Without FUSE no run has a folder.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.localcloud.buckets.s3 import BucketStorage
from lk_jupyter.localcloud.runs.variables import Variables

#: Variable with the path of the bucket's folder.
FOLDER_VARIABLE = "LK_STORAGE"

MOUNT = Path("/mnt/s3")

#: Mounts a folder at MOUNT for a single command and becomes this command. To make room, a copy with the same folders
#: covers /mnt. If that fails, the script creates nothing: the folder would be created on the machine.
_AT_MOUNT = """
if ! [ -d "$1" ]; then
    (cd /mnt && mount -t tmpfs none /mnt && {
        for each in *; do
            [ -d "$each" ] && mkdir "/mnt/$each" && mount --no-canonicalize --rbind "./$each" "/mnt/$each"
        done
        mkdir "$1"
    })
fi && mount --bind "$0" "$1" && shift && exec "$@"
"""

#: The same for a folder at any other place: the command's root is a copy with the same folders, and the new folder.
_AT_ROOT = """
(cd /mnt && mount -t tmpfs none /mnt && mkdir /mnt/mnt && mount --no-canonicalize --rbind . /mnt/mnt) || exit 1
for each in /*; do
    if [ -L "$each" ]; then cp -a "$each" /mnt/
    elif [ "$each" != /mnt ] && [ -d "$each" ]; then mkdir "/mnt$each" && mount --rbind "$each" "/mnt$each"
    fi
done
mkdir -p "/mnt$1" && mount --bind "$0" "/mnt$1" && shift &&
exec chroot /mnt /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""


@dataclass(frozen=True)
class RunProvision:
    """Environment variables of a run, and the prefix of its command."""

    variables: dict[str, str] = field(default_factory=dict, repr=False)
    prefix: tuple[str, ...] = ()


class Provider:
    """A provider of secrets and buckets for runs."""

    def __init__(self, variables: Variables, storage: BucketStorage) -> None:
        self._variables = variables
        self._storage = storage
        self.mount = MOUNT

    def provide(self, org_id: str, code: str) -> RunProvision:
        """Return the additions to a run with this code; may start the storage."""
        secrets = self._variables.read_values(org_id)
        text = code + " ".join(secrets.values())
        if not (self._storage.is_used or FOLDER_VARIABLE in text or str(self.mount) in text):
            return RunProvision(secrets)
        folder = self._storage.mount_folder(org_id)
        if folder is None:
            return RunProvision(secrets)
        prefix = _build_prefix(folder, self.mount)
        if prefix and self.mount != MOUNT:
            return RunProvision(secrets, prefix)
        return RunProvision({**secrets, FOLDER_VARIABLE: str(MOUNT if prefix else folder)}, prefix)


def _build_prefix(folder: Path, mount: Path) -> tuple[str, ...]:
    """Return the prefix that shows a folder to a command at another place; empty if not supported."""
    if (how := _find_unshare_command()) is None:
        return ()
    script = _AT_MOUNT if mount.parent == MOUNT.parent else _AT_ROOT
    return (*how, "/bin/sh", "-c", script, str(folder), str(mount))


@cache
def _find_unshare_command() -> tuple[str, ...] | None:
    """Return the command that gives a process private mounts and then becomes the process, if supported."""
    program = find_program("unshare")
    if program is None:
        return None
    anybody = () if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
    how = (program, *anybody, "--mount")
    trial = [*how, "/bin/sh", "-c", _AT_MOUNT, "/", str(MOUNT), "true"]
    done = subprocess.run(trial, check=False, env=child_environment(), capture_output=True)
    return how if done.returncode == 0 else None
