"""Folders and keys in the bucket that runs and this machine share, and how long an object is kept."""

from __future__ import annotations

from datetime import timedelta

#: Folder of the bucket for objects that only runs and this package use.
FOLDER = ".lk/"

#: Folder of checkpoints in the bucket.
CHECKPOINTS = ".lk/c/"


def checkpoint_key(token: str) -> str:
    """Return the key of the checkpoint that a run saves before its time limit."""
    return f"{CHECKPOINTS}{token}.tar"


def checkpoint_folder_key(token: str) -> str:
    """Return the folder of the checkpoints that a run on a VM stores while its code runs."""
    return f"{CHECKPOINTS}{token}/"


#: Where calls and answers lie in the bucket while they are on their way.
CALLS = ".lk/f/"


def call_key(token: str) -> str:
    """Return the key of a call that is too large for the request."""
    return f"{CALLS}{token}/call"


def answer_key(token: str) -> str:
    """Return the key of an answer that is too large for the log."""
    return f"{CALLS}{token}/answer"


#: Folder of the lists of files that runs stage.
STAGES = ".lk/s/"


def stage_key(token: str) -> str:
    """Return the key of the list of the files that a run stages."""
    return f"{STAGES}{token}"


VALUES, RETURNED = ".lk/v/", ".lk/o/"

#: Folder of packages that runs keep.
PACKAGES = ".lk/p/"


def packages_key(token: str, number: int) -> str:
    """Return the key of a part of the packages that a run keeps."""
    return f"{PACKAGES}{token}/{number}.tar"


#: Folder → age after which objects are removed; a value that is still in use is uploaded again before.
KEPT = {
    VALUES: timedelta(days=30),
    RETURNED: timedelta(days=14),
    CHECKPOINTS: timedelta(days=30),
    CALLS: timedelta(days=14),
    PACKAGES: timedelta(days=30),
    STAGES: timedelta(days=2),
}

RENEWED = timedelta(days=20)


#: Seconds that a run has to return its variables and to end, after a request to stop and before the abort.
GRACE = 10.0


def stop_key(token: str) -> str:
    """Return the key of the object that requests the end of a run."""
    return returned_key(token, "stop")


#: The last part of the key of a saved moment.
MOMENT = "moment"


def returned_key(token: str, what: str | int) -> str:
    """Return the key of a result: the number of a slot, or the message that lists the slots."""
    return f"{RETURNED}{token}/{what}"
