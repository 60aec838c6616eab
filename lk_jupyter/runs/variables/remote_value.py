"""Handles of values that only the machine of a session has: a name of the notebook without the value."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.text.units import size_label


class RemoteValueError(UsageError, AttributeError):
    """The value of a handle isn't here; ``hasattr`` returns False for its attributes."""


class RemoteValue:
    """The handle of a value that is on the machine of a session until a local cell reads its name.

    Each use of the handle itself raises UsageError, so that no code calculates with the handle in place of the value.
    """

    def __init__(self, name: str, session: str = "", kind: str = "", size: int = 0, reason: str = "") -> None:
        self.__dict__.update(_lk_name=name, _lk_session=session, _lk_kind=kind, _lk_size=size, _lk_reason=reason)

    def __repr__(self) -> str:
        facts = ", ".join(filter(None, [self._lk_kind, size_label(self._lk_size) if self._lk_size else ""]))
        return f"<{self._lk_name}{f' ({facts})' if facts else ''} on the machine of session {self._lk_session}>"

    def _lk_explain(self) -> str:
        reason = f" {self._lk_reason}." if self._lk_reason else ""
        return (
            f"'{self._lk_name}' is on the machine of session {self._lk_session}.{reason} "
            f"Read it in a cell: %%lk_run, then {self._lk_name}"
        )

    def _lk_refuse(self, *_: Any) -> NoReturn:
        raise RemoteValueError(self._lk_explain())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # such as the methods that IPython looks for
            raise AttributeError(name)
        self._lk_refuse()

    def __reduce_ex__(self, _: Any) -> NoReturn:
        self._lk_refuse()

    def __setattr__(self, name: str, value: Any) -> None:
        self._lk_refuse()

    __bool__ = __len__ = __iter__ = __call__ = __getitem__ = __setitem__ = __contains__ = _lk_refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __float__ = __int__ = __index__ = __str__ = _lk_refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _lk_refuse
    __hash__ = object.__hash__


class UnreturnedValue(RemoteValue):
    """The last value that a run displayed, in place of ``_``, if the run didn't return the value."""

    def __repr__(self) -> str:
        return f"<the last value of a run ({self._lk_kind}), which wasn't returned>"

    def _lk_explain(self) -> str:
        return (
            f"'{self._lk_name}' is the last value of a run ({self._lk_kind}), which wasn't returned. Assign the value "
            "to a variable in the cell, and return it: --out NAME"
        )


#: The name of the last value that a cell displayed.
LAST = "_"


def bind_last(value: RemoteValue, namespace: MutableMapping[str, Any]) -> None:
    """Bind ``_`` to a handle of the last value, so that no cell reads an older value; the next value replaces it."""
    shell: Any = namespace["get_ipython"]() if "get_ipython" in namespace else None
    namespace[LAST] = value
    if shell is not None and hasattr(shell, "displayhook"):
        shell.push({LAST: value}, interactive=False)
        shell.displayhook._ = value


def handle_names(namespace: Mapping[str, Any]) -> set[str]:
    """Return the names whose values only a session has."""
    return {name for name, value in namespace.items() if type(value) is RemoteValue}


def remove_handles(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables whose values the notebook has."""
    names = handle_names(namespace)
    return {name: value for name, value in namespace.items() if name not in names} if names else namespace


def bind_handles(
    handles: Mapping[str, tuple[str, int]],
    refused: Mapping[str, str],
    namespace: MutableMapping[str, Any],
    session: str,
) -> list[Notice]:
    """Bind handles to the names whose new values stay in a session, so that no local cell reads older values.

    ``handles`` is name → kind and size in bytes, ``refused`` name → reason.
    """
    for name, reason in refused.items():
        if name.isidentifier():
            namespace[name] = RemoteValue(name, session, reason=reason)
    for name, (kind, size) in handles.items():
        namespace[name] = RemoteValue(name, session, kind, size)
    listed = ", ".join(f"{name} ({kind}, {size_label(size)})" for name, (kind, size) in handles.items())
    return (
        [Notice(f"These variables stay on the machine until a cell of this notebook reads them: {listed}")]
        if listed
        else []
    )
