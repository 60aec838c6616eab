"""Read the list of the checkpoint that a run on a VM has stored in the bucket."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import NoSuchObject, UsageError
from lk_jupyter.protocol.bucket import checkpoint_folder_key
from lk_jupyter.protocol.vm_run import CHECKPOINT_LIST
from lk_jupyter.remote.sign import is_signed

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

_DIGEST = re.compile(r"[0-9a-f]{64}")


def checkpoint_settings(token: str) -> dict[str, str]:
    """Return where the VM stores the checkpoints of a run, and the key that signs their lists."""
    return {"prefix": checkpoint_folder_key(token), "key": signing_key(token).hex()}


def read_checkpoint(storage: Storage, token: str) -> dict[str, Any] | None:
    """Return the files and the log of the last complete checkpoint of a run; None if the run has stored no checkpoint.

    Raises UsageError for a list that isn't signed with the key of the run, or has names that lead out of the folder.
    """
    prefix = checkpoint_folder_key(token)
    try:
        document = json.loads(storage.get_bytes(prefix + "list"))
        text, claimed = document["list"], bytes.fromhex(document["signature"])
    except NoSuchObject:
        return None
    except (ValueError, TypeError, KeyError):
        raise _build_refusal("can't be read") from None
    if not is_signed(signing_key(token), claimed, CHECKPOINT_LIST, str(text).encode()):
        raise _build_refusal("isn't signed with the key of the run")
    listing = json.loads(text)
    files, log = listing["files"], listing["log"]
    if not all(map(_is_inside, files)) or not all(_DIGEST.fullmatch(digest) for digest, _ in [*files.values(), *log]):
        raise _build_refusal("contains paths outside of its folder")
    return {"prefix": prefix, "files": files, "log": log}


def log_size(listing: dict[str, Any] | None) -> int:
    """Return the bytes of the log until the checkpoint."""
    return sum(size for _, size in listing["log"]) if listing else 0


def _build_refusal(problem: str) -> UsageError:
    return UsageError(f"The checkpoint of the run {problem}. Nothing was restored. Start again without --resume.")


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return not name.startswith("/") and "\\" not in name and not any(part in {"", ".", ".."} for part in parts)
