"""Fetch values that only the machine of a session has: from the session, or from the variables that it saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.source import Source
from lk_jupyter.config.files import read_json
from lk_jupyter.errors import NoSuchObject, UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.notebooks.saved_variables import moment_words, saved_file
from lk_jupyter.runs.notebooks.warm_pythons import find_warm_python
from lk_jupyter.runs.package.prepare import prepare_cell
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.variables.remote_value import RemoteValue, handle_names

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.notebooks.warm_python import WarmPython


def fetch_values(session: Connection, names: Iterable[str], namespace: MutableMapping[str, Any]) -> list[Notice]:
    """Set values in place of their handles, and return notices. Raises LkError; the handles stay then."""
    by_session: dict[str, list[str]] = {}
    for name in names:
        handle = namespace[name]
        if not handle._lk_reason:
            by_session.setdefault(handle._lk_session, []).append(name)
    notices = []
    for session_name, selected in by_session.items():
        warm = find_warm_python(session, session_name)
        notices += (
            _fetch_saved(session, session_name, selected, namespace)
            if warm is None
            else _fetch_from(warm, selected, namespace)
        )
    return notices


def _fetch_from(warm: WarmPython, names: list[str], namespace: MutableMapping[str, Any]) -> list[Notice]:
    """Fetch values of a session, with all handles whose values share an object with them.

    The values that both sides have are listed as inputs, so that an object inside a value stays the object here.
    """
    handles = {name: namespace[name] for name in handle_names(namespace)}
    selected = warm.connected_names(names, handles.keys() - set(names))
    lost = sorted(set(names) - set(selected))
    for name in lost:
        namespace[name] = RemoteValue(name, warm.name, reason="The value is lost: the Python of the session has ended")
    notices = [Notice(f"Lost with the Python of session {warm.name}: {', '.join(lost)}", WARNING)] if lost else []
    if not selected:
        return notices
    exchanged = [name for name, digest in warm.digests.items() if digest and name in namespace.keys() - handles.keys()]
    options = RunOptions(session=warm.name, sync=True, inputs=exchanged, outputs=selected)
    source = Source("pass", "cell.py", namespace=namespace, is_cell=True)
    bundle = prepare_cell(warm.run.session, source, options, warm.digests)
    (bundle,) = require_consent([bundle])
    cell = warm.begin(bundle)
    for _ in cell.messages():
        pass
    for name in selected:
        namespace.pop(name)
    try:
        return [*notices, *warm.take_back(bundle, namespace, cell)]
    finally:
        for name in selected:
            namespace.setdefault(name, handles[name])


def _fetch_saved(session: Connection, name: str, names: list[str], namespace: MutableMapping[str, Any]) -> list[Notice]:
    """Read values from the variables that a session saved before its machine ended. Raises UsageError, StorageError."""
    loss = f"The machine of session {name} has ended, and its variables are lost: {', '.join(names)}."
    values, lost, moment = _read_saved_variables(session, name, loss)
    for selected in names:
        if selected in values:
            namespace[selected] = values[selected]
        else:
            reason = str(lost.get(selected, "wasn't saved"))
            namespace[selected] = RemoteValue(selected, name, reason=reason)
    return _build_saved_notices(name, names, {each: why for each, why in lost.items() if each in names}, moment)


def restore_saved(session: Connection, name: str, namespace: MutableMapping[str, Any]) -> list[Notice]:
    """Set all variables that a session saved before its machine ended, and return notices.

    Raises UsageError, StorageError.
    """
    values, lost, moment = _read_saved_variables(session, name, f"Session '{name}' has saved no variables.")
    namespace.update(values)
    return _build_saved_notices(name, sorted(values), lost, moment)


def _read_saved_variables(
    session: Connection, name: str, loss: str
) -> tuple[dict[str, Any], dict[str, str], float | None]:
    """Return what ``read_saved`` returns for a session. Raises UsageError with the message ``loss``, StorageError."""
    from lk_jupyter.remote.script.session import read_saved  # noqa: PLC0415 (only for variables)

    saved = read_json(saved_file()).get(name)
    if not saved or not session.speaks_to(saved["base_url"]):
        raise UsageError(loss)
    try:
        content = bytes(session.storage.get_bytes(saved["object"]))
    except NoSuchObject:
        raise UsageError(loss) from None
    variables = read_saved(content, saved["key"])
    if variables is None:
        raise UsageError(f"The variables of session {name} were changed in the bucket, so nothing was read.")
    return variables


def _build_saved_notices(name: str, names: list[str], lost: Mapping[str, str], moment: float | None) -> list[Notice]:
    """Return the notices about variables that were read, and about variables that weren't saved."""
    words = f"These variables were read from the saved state of session {name}{moment_words(moment)}"
    notices = [Notice(f"{words}: {', '.join(names) or 'none'}")]
    return [*notices, *(Notice(f"{each} {why}.", WARNING) for each, why in lost.items())]
