"""Connections to SQLite databases in files: the other side opens the file again.

Travels with a run and works on both sides.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module

from ...values import codec
from ..base import IN_SESSION, Refused
from .files import made_here

_OPTIONS = ("row_factory", "text_factory", "isolation_level")


def held_by(connection):
    """Return the path of the file of a connection, and its options; nothing if it is closed. Raises Refused."""
    if hasattr(connection, "connection"):  # a cursor
        raise _refusal(connection)
    try:
        path = files_of(connection)["main"]
    except Exception as error:
        if "thread" in str(error):
            raise _refusal(connection) from None
        return []
    if not path:
        raise Refused("is a database in memory: connect to a file instead" + IN_SESSION)
    if connection.in_transaction:
        raise Refused("has changes that are not committed: call its commit() in the cell that makes them")
    return [os.path.relpath(path), [getattr(connection, name) for name in _OPTIONS]]


def _refusal(value):
    return Refused(codec.why_not(value) + IN_SESSION)


def files_of(connection):
    """Return the names of the databases of a connection, with their files; a database in memory has an empty text."""
    with _plain_rows(connection):
        return {name: path for _, name, path in connection.cursor().execute("PRAGMA database_list")}


@contextmanager
def _plain_rows(connection):
    """Let a connection return rows as tuples and texts as str inside a ``with`` block."""
    before = {name: getattr(connection, name) for name in ("row_factory", "text_factory")}
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        for name, option in before.items():
            setattr(connection, name, option)


def reduced(value):
    """Reduce a connection. Raises Refused for a cursor: its rows are in this process."""
    return open_database, (held_by(value),)


def open_database(held):
    """Open the file of a connection, or return a closed connection. Raises Refused for what earlier versions sent."""
    if held and not isinstance(held[0], str):
        raise Refused("is a database in memory: connect to a file instead" + IN_SESSION)
    path = held[0] if held else ":memory:"
    made_here(path)
    connection = import_module("sqlite3").connect(path, check_same_thread=False)
    fill(connection, held)
    return connection


def fill(connection, held):
    """Set the options of a connection, or close it, as on the other side."""
    if not held:
        connection.close()
        return
    for name, option in zip(_OPTIONS, held[1]):
        setattr(connection, name, option)
