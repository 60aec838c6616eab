"""Prepare a run for a relay: its code must save checkpoints, and no variables are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions, option_flag
from lk_jupyter.protocol.parts import RemoteModule
from lk_jupyter.protocol.relay import PART
from lk_jupyter.runs.package.checkpoint import uses_checkpoints

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Options that a relay doesn't support.
_EXCLUDED = ("on", "session", "image", "volume", "resume", "inputs", "in_all", "outputs", "sync", "nproc")


def relay_options(source: Source, options: RunOptions, count: int) -> RunOptions:
    """Return the options of a relay, which sends no variables. Raises UsageError for options that don't fit."""
    for name in _EXCLUDED:
        if getattr(options, name):
            raise UsageError(
                f"--relay doesn't work with {option_flag(RunOptions, name)}. Nothing was sent. Leave one of them out."
            )
    if count > 1:
        raise UsageError("--relay is for a single run. Nothing was sent. Leave out --sweep and commas.")
    if options.timeout is None:
        raise UsageError(
            "--relay needs a time limit for all runs together. Nothing was sent. Example: --relay --timeout 3h"
        )
    if not uses_checkpoints(source.code):
        raise UsageError(
            "--relay needs code that saves files in lk_jupyter.checkpoint_folder(), or uses lk_jupyter.Checkpoint. "
            "Nothing was sent."
        )
    return options.model_copy(update={"fresh": True})


def relay_parts(session: Connection) -> list[RemoteModule]:
    """Return the module that ends each run of a relay right after its last checkpoint."""
    settings = {"after": 0.0, "folders": session.assumptions.candidates("bucket_folder_python")}
    return [RemoteModule(PART, settings, ("script.checkpoint", "script.links", "values", "checkpoints"))]
