"""Give a run the secrets of its organization, and its bucket as a folder.

The folder is at ``/mnt/s3`` if the system lets a process have private mounts; LK_STORAGE
names it in any case. A run gets it when its code or its secrets name one of the two, or when the
bucket is in use already, because it needs a server. Without FUSE there is no folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lk_jupyter.localcloud.buckets.s3 import BucketStorage
from lk_jupyter.localcloud.runs.variables import Variables

#: Names the folder with the files of the bucket.
FOLDER_VARIABLE = "LK_STORAGE"

MOUNT = Path("/mnt/s3")

#: Puts a folder at MOUNT for one command and becomes it. To make room, /mnt is covered by a copy with the same folders.
#: Where that fails nothing is made: the folder would be one of the machine.
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

#: The same for a folder anywhere else: the command's root is a copy with the same folders, and this one.
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
    """Variables of the run's environment, and what its command is put behind."""

    variables: dict[str, str] = field(default_factory=dict, repr=False)
    prefix: tuple[str, ...] = ()


class Provider:
    """Gives runs what their organization has."""

    def __init__(self, variables: Variables, storage: BucketStorage) -> None:
        self._variables = variables
        self._storage = storage
        self.mount = MOUNT

    def provide(self, org_id: str, code: str) -> RunProvision:
        """Return what a run of this code is given; may start the storage."""
        secrets = self._variables.values(org_id)
        text = code + " ".join(secrets.values())
        if not (self._storage.is_used or FOLDER_VARIABLE in text or str(self.mount) in text):
            return RunProvision(secrets)
        folder = self._storage.folder(org_id)
        if folder is None:
            return RunProvision(secrets)
        prefix = _prefix(folder, self.mount)
        if prefix and self.mount != MOUNT:
            return RunProvision(secrets, prefix)
        return RunProvision({**secrets, FOLDER_VARIABLE: str(MOUNT if prefix else folder)}, prefix)


def _prefix(folder: Path, mount: Path) -> tuple[str, ...]:
    """Return what makes a command see a folder at another place; nothing where that does not work."""
    if (how := _unsharing()) is None:
        return ()
    script = _AT_MOUNT if mount.parent == MOUNT.parent else _AT_ROOT
    return (*how, "/bin/sh", "-c", script, str(folder), str(mount))


@cache
def _unsharing() -> tuple[str, ...] | None:
    """Return the command that gives a process private mounts and then becomes it, if it works here."""
    program = shutil.which("unshare")
    if program is None:
        return None
    anybody = () if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
    how = (program, *anybody, "--mount")
    trial = [*how, "/bin/sh", "-c", _AT_MOUNT, "/", str(MOUNT), "true"]
    return how if subprocess.run(trial, check=False, capture_output=True).returncode == 0 else None
