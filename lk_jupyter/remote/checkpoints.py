"""Save and restore the state of a training, so that another machine continues from there.

On the VM of a run, ``agent`` stores the files of the checkpoint folder in the bucket while the code runs, and puts them
back on the VM that replaces a VM which failed or was reclaimed. Elsewhere, the folder is ``lk_checkpoints`` in the
working directory. Works on both sides, without other packages; PyTorch is imported by the code that uses it.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

#: Environment variables with the checkpoint folder, and with the address that receives reports of complete checkpoints.
FOLDER, ADDRESS = "LK_CHECKPOINTS", "LK_CHECKPOINT_ADDRESS"

#: Seconds between two saves of a Checkpoint.
EVERY = 60.0

#: The file of a Checkpoint in the folder.
FILE = "checkpoint.pt"


def checkpoint_folder() -> Path:
    """Return the folder for checkpoints, which a run on a VM stores in the bucket while the code runs.

    Write files there, or give the folder to the library that does: ``Trainer`` of transformers, ``ModelCheckpoint`` of
    Lightning, ``BackupAndRestore`` of Keras. With ``--retries``, a VM that replaces a failed or reclaimed VM has the
    files of the last complete checkpoint. In a notebook, the folder is ``lk_checkpoints``.

    Returns:
        A ``pathlib.Path`` of a folder that exists.

    Cost:
        The bucket stores the files for 30 days after the last change.

    Example:
        >>> import os, tempfile, lk_jupyter
        >>> os.environ["LK_CHECKPOINTS"] = tempfile.mkdtemp()
        >>> folder = lk_jupyter.checkpoint_folder()
        >>> del os.environ["LK_CHECKPOINTS"]
        >>> folder.is_dir()
        True
    """
    import warnings
    from pathlib import Path

    if "_lk.script.run" in sys.modules and FOLDER not in os.environ:
        text = "This run isn't on a VM, so its checkpoints are lost when the run ends. Run the code with --on vm."
        warnings.warn(text, stacklevel=2)
    folder = Path(os.environ.get(FOLDER) or "lk_checkpoints").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Checkpoint:
    """Save and restore a training with PyTorch: parts, random states, epoch, step and position in the DataLoader.

    A new Checkpoint restores the last state in the folder, if the folder has one. ``batches`` saves the state between
    two batches, at most once in ``every`` seconds. The continued training computes the same numbers as a training
    without interruption, if its code is deterministic.

    Args:
        parts: Objects with ``state_dict`` and ``load_state_dict`` by name, such as ``model=model``.
        every: Seconds between two saves. Default: 60.

    Raises:
        RuntimeError: The state in the folder is of another training, or can't be read.

    Example:
        >>> checkpoint = lk_jupyter.Checkpoint(every=300)
        >>> list(checkpoint.epochs(2)), checkpoint.epoch, checkpoint.step
        ([0, 1], 2, 0)
        >>> for batch in checkpoint.batches(loader):  # doctest: +SKIP
        ...     train(batch)
        >>> checkpoint.save()  # doctest: +SKIP
    """

    def __init__(self, *, every: float = EVERY, **parts: Any) -> None:
        self._parts = parts
        self._every = every
        self._path = checkpoint_folder() / FILE
        self._saved_at = time.monotonic()
        self._position = 0  # batches of the current epoch
        self._order: dict[str, Any] | None = None  # the random states before the current epoch
        self._skip: tuple[dict[str, Any], int, dict[str, Any]] | None = None
        self.epoch = 0
        self.step = 0
        if self._path.exists():
            self._restore_state()

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the numbers of the epochs that remain.

        Args:
            count: Number of all epochs; the last is ``count`` - 1.
        """
        while self.epoch < count:
            yield self.epoch
            self.epoch += 1
            self._position, self._order = 0, None

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield the remaining batches of the epoch, and save the state between two batches.

        Args:
            loader: DataLoader, or another iterable that yields the same batches for the same random state.
        """
        self._position, self._order = 0, _read_random_states()
        skip, self._skip = self._skip, None
        if skip:
            self._order, position, states = skip
            _set_random_states(self._order)
        iterator = iter(loader)
        if skip:
            for _ in range(position):
                next(iterator, None)
            self._position = position
            _set_random_states(states)
        for batch in iterator:
            yield batch
            self._position += 1
            self.step += 1
            if time.monotonic() - self._saved_at >= self._every:
                self.save()

    def save(self) -> None:
        """Save the state now, completely or not at all."""
        import torch

        content = {
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "epoch": self.epoch,
            "step": self.step,
            "position": self._position,
            "order": self._order,
            "random": _read_random_states(),
        }
        draft = str(self._path) + ".tmp"
        torch.save(content, draft)
        os.replace(draft, str(self._path))
        report_saved()
        self._saved_at = time.monotonic()

    def _restore_state(self) -> None:
        import torch

        try:
            content = torch.load(str(self._path), map_location="cpu", weights_only=True)
            _require_parts(content["parts"], self._parts)
            for name, part in self._parts.items():
                part.load_state_dict(content["parts"][name])
            self.epoch, self.step = int(content["epoch"]), int(content["step"])
            if content["order"] is not None:
                self._skip = content["order"], int(content["position"]), content["random"]
            _set_random_states(content["random"])
        except Exception as error:
            raise RuntimeError(
                "The checkpoint '{}' can't be restored: {}. Delete the file to start again.".format(self._path, error)
            ) from error


def _require_parts(stored: dict[str, Any], parts: dict[str, Any]) -> None:
    if sorted(stored) != sorted(parts):
        raise ValueError("its parts are {}".format(", ".join(sorted(stored))))


def report_saved() -> None:
    """Report that the files of the folder are a complete checkpoint, at this place of the log; return when noted."""
    address = os.environ.get(ADDRESS)
    if not address:
        return
    import urllib.request

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(urllib.request.Request(address, data=b"", method="POST"), timeout=60).close()
    except OSError:  # the files are stored nevertheless, when they stay unchanged
        pass


def _read_random_states() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and PyTorch's random numbers, as numbers and tensors only."""
    import random

    import torch

    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        states["numpy"] = [str(name), [int(key) for key in keys], *rest]
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    import random

    import torch

    version, keys, following = states["python"]
    random.setstate((version, tuple(keys), following))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    if "numpy" in states:
        import numpy

        name, keys, *rest = states["numpy"]
        numpy.random.set_state((name, keys, *rest))  # noqa: NPY002 (the state that the code uses)
