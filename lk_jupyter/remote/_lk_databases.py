"""Connections to SQLite databases in files: the other side opens the file again.

Travels with a run and works on both sides.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module

_near = (lambda name: import_module("." + name, __package__)) if __package__ else import_module
_carry = _near("_lk_carry")

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
        raise _carry.Refused("is a database in memory: connect to a file instead" + _carry.IN_SESSION)
    if connection.in_transaction:
        raise _carry.Refused("has changes that are not committed: call its commit() in the cell that makes them")
    return [os.path.relpath(path), [getattr(connection, name) for name in _OPTIONS]]


def _refusal(value):
    return _carry.Refused(_carry._values.why_not(value) + _carry.IN_SESSION)


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
    return make, (held_by(value),)


def make(held):
    """Open the file of a connection, or return a closed connection. Raises Refused for what earlier versions sent."""
    if held and not isinstance(held[0], str):
        raise _carry.Refused("is a database in memory: connect to a file instead" + _carry.IN_SESSION)
    path = held[0] if held else ":memory:"
    _carry.made_here(path)
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
