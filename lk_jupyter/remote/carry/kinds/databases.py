"""Connections to SQLite databases in files: the peer opens the file again."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module

from ...values import codec
from ..base import IN_SESSION, Refused
from .files import write_arrived

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_OPTIONS = ("row_factory", "text_factory", "isolation_level")


def connection_state(connection: Any) -> list[Any]:
    """Return the path of a connection's file and the options; nothing if closed. Raises Refused."""
    if hasattr(connection, "connection"):  # a cursor
        raise _build_refusal(connection)
    try:
        path = database_files(connection)["main"]
    except Exception as error:
        if "thread" in str(error):
            raise _build_refusal(connection) from None
        return []
    if not path:
        raise Refused("is a database in memory: connect to a file instead" + IN_SESSION)
    if connection.in_transaction:
        raise Refused("has uncommitted changes: call commit() in the cell that makes the changes")
    return [os.path.relpath(path), [getattr(connection, name) for name in _OPTIONS]]


def _build_refusal(value: Any) -> Refused:
    return Refused(codec.explain_unsendable(value) + IN_SESSION)


def database_files(connection: Any) -> dict[str, str]:
    """Return the names of the databases of a connection, with their files; a database in memory has an empty text."""
    with _use_plain_rows(connection):
        return {name: path for _, name, path in connection.cursor().execute("PRAGMA database_list")}


@contextmanager
def _use_plain_rows(connection: Any) -> Iterator[None]:
    """Let a connection return rows as tuples and texts as str inside a ``with`` block."""
    before = {name: getattr(connection, name) for name in ("row_factory", "text_factory")}
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        for name, option in before.items():
            setattr(connection, name, option)


def reduce_connection(value: Any) -> tuple[Any, ...]:
    """Reduce a connection. Raises Refused for a cursor: the rows are in this process."""
    return open_database, (connection_state(value),)


def open_database(state: list[Any]) -> Any:
    """Open the file of a connection, or return a closed connection. Raises Refused for states of earlier versions."""
    if state and not isinstance(state[0], str):
        raise Refused("is a database in memory: connect to a file instead" + IN_SESSION)
    path = state[0] if state else ":memory:"
    write_arrived(path)
    connection = import_module("sqlite3").connect(path, check_same_thread=False)
    fill(connection, state)
    return connection


def fill(connection: Any, state: list[Any]) -> None:
    """Set the options of a connection, or close the connection, as on the peer."""
    if not state:
        connection.close()
        return
    for name, option in zip(_OPTIONS, state[1]):
        setattr(connection, name, option)
