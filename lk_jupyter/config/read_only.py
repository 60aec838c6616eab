"""Read-only mode: the setting ``read_only`` refuses operations that change the account, before anything is sent."""

from __future__ import annotations

from lk_jupyter.config.files import CONFIG_FILE
from lk_jupyter.config.settings import resolve
from lk_jupyter.errors import ReadOnlyMode

#: Effects of allowed operations: a read changes nothing, and the end of a run or a batch ends its bill.
_HARMLESS = {"reads", "stops"}


def is_read_only() -> bool:
    """Whether read-only mode is on. Raises UsageError if the setting can't be read."""
    return bool(resolve("read_only").value)


def refuse_if_read_only(effect: str) -> None:
    """Raise ReadOnlyMode if read-only mode is on and an operation of this effect would change the account."""
    if effect in _HARMLESS or not is_read_only():
        return
    source = resolve("read_only").source
    remedy = "%lk_config read_only off" if source == CONFIG_FILE else f"change the environment variable {source}."
    raise ReadOnlyMode(f"Read-only mode is on. Nothing was sent. Switch it off: {remedy}")
