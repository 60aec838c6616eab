"""Databases of SQLite that travel: connections, and cursors with the rows that wait to be read.

Travels with a run and works on both sides.
"""

from __future__ import annotations

import gc
import os
import weakref
from contextlib import closing, contextmanager
from importlib import import_module
from tempfile import TemporaryDirectory

_near = (lambda name: import_module("." + name, __package__)) if __package__ else import_module
_carry = _near("_lk_carry")

#: Bytes of a database in memory that travels, and values of rows that wait to be read.
_DATABASE, _WAITING = 50_000_000, 30_000
_OF_DATABASES = ("row_factory", "text_factory", "isolation_level")

#: What SQLite answers while another connection writes.
_BUSY, _LOCKED = 5, 6

#: Where the bytes of a database say how often and by what it was written: equal rows are equal bytes without them.
_WRITTEN = (slice(24, 28), slice(40, 44), slice(92, 100))

#: Cursors of SQLite → the statement that gave them their rows here. Rows of others could be lost when they are read.
_given_rows = weakref.WeakKeyDictionary()


def held_by(value):
    """Return what a connection to SQLite has in memory, or the path of its file, and how it is set; nothing if closed.

    Of a cursor the rows that wait to be read.
    """
    if hasattr(value, "connection"):
        return _waiting_rows(value)
    try:
        place = files_of(value)["main"]
    except Exception as error:
        if "thread" in str(error):
            raise _carry.Refused(_carry._values.why_not(value)) from None
        return []
    options = [getattr(value, name) for name in _OF_DATABASES]
    if place:
        if value.in_transaction:
            raise _carry.Refused("has changes that are not committed: call its commit() in the cell that makes them")
        return [os.path.relpath(place), options]
    content = _content_of(value)
    if len(content) > _DATABASE:
        raise _carry.Refused("has {:,} bytes in memory: connect to a file instead".format(len(content)))
    return [content, options, value.in_transaction]


def files_of(database):
    """Return the names of the databases of a connection, with their files; one in memory has an empty text."""
    with _plain_rows(database):
        return {name: path for _, name, path in database.cursor().execute("PRAGMA database_list")}


def _content_of(database):
    """Return what a database in memory holds; as bytes it may be without what is not committed."""
    if not database.in_transaction:
        return _as_bytes(database)
    with closing(import_module("sqlite3").connect(":memory:")) as copy:
        with _plain_rows(database):
            copy.executescript("".join(database.iterdump()))
        return _as_bytes(copy)


def _as_bytes(database):
    if hasattr(database, "serialize"):  # since Python 3.11
        content = bytearray(database.serialize())
    else:
        with TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows")
            with closing(import_module("sqlite3").connect(path)) as copy:
                _copy(database, copy)
            with open(path, "rb") as file:
                content = bytearray(file.read())
    for part in _WRITTEN:
        content[part] = bytes(len(content[part]))
    return bytes(content)


def _fill_database(database, content):
    """Let a database in memory hold these bytes; after ``deserialize``, rows that wait would crash Python."""
    if database.in_transaction:
        database.rollback()
    with _opened(content) as copy:
        database.execute("PRAGMA page_size = {}".format(*copy.execute("PRAGMA page_size").fetchone()))
        _copy(copy, database)


@contextmanager
def _opened(content):
    """Connect to a database with these bytes, for a ``with`` block."""
    connect = import_module("sqlite3").connect
    with closing(connect(":memory:")) as copy:
        if hasattr(copy, "deserialize"):  # since Python 3.11
            copy.deserialize(content)
            yield copy
            return
    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows")
        with open(path, "wb") as file:
            file.write(content)
        with closing(connect(path)) as copy:
            yield copy


def _copy(database, to):
    """Copy a database; where another connection writes to it, SQLite would wait without end."""

    def check(status, *_):
        if status in {_BUSY, _LOCKED}:
            raise _carry.Refused("is used by another connection: close that one in the cell that uses it")

    database.backup(to, progress=check)


@contextmanager
def _plain_rows(reader):
    """Let a connection or a cursor give rows as tuples meanwhile, and a connection texts as texts."""
    before = {name: getattr(reader, name) for name in ("row_factory", "text_factory") if hasattr(reader, name)}
    for name in before:
        setattr(reader, name, None if name == "row_factory" else str)
    try:
        yield
    finally:
        for name, own in before.items():
            setattr(reader, name, own)


def reduced(value):
    """Reduce a connection or a cursor."""
    held = held_by(value)
    if not hasattr(value, "connection"):
        return make, (held,)
    return make_cursor, (value.connection,), held or None, None, None, fill


def _waiting_rows(cursor):
    """Return the names and the rows that a cursor has yet to give; it has them still."""
    try:
        cursor.connection.total_changes
    except Exception:
        raise _carry.Refused("belongs to a database that is closed: connect again in the cell that uses it") from None
    statement = _statement_of(cursor)
    if not cursor.description or statement is None:
        return []
    reason = "has rows that were not read: read them in the cell that asks for them, such as by fetchall()"
    if __package__ and _given_rows.get(cursor) is not statement:
        raise _carry.Refused(reason)
    names = [column[0] for column in cursor.description]
    with _plain_rows(cursor):
        rows = cursor.fetchall()
    if rows:
        _fill_cursor(cursor, [names, rows])
    if not rows or len(rows) * len(names) > _WAITING:
        raise _carry.Refused(reason)
    return [names, rows]


def _statement_of(cursor):
    """Return what a cursor runs, until it has given its last row."""
    return next((part for part in gc.get_referents(cursor) if type(part).__name__ == "Statement"), None)


def _fill_cursor(cursor, held):
    """Let a cursor wait with rows, or without."""
    if not held:
        cursor.execute("SELECT 1 WHERE 0").fetchall()
        return
    names, rows = held
    columns = ", ".join('"{}"'.format(name.replace('"', '""')) for name in names)
    places = "({})".format(", ".join("?" * len(names)))
    if len(rows) * len(names) > _WAITING:
        _fill_from_table(cursor, columns, places, rows)
        return
    text = "WITH rows({}) AS (VALUES {}) SELECT * FROM rows".format(columns, ", ".join([places] * len(rows)))
    cursor.execute(text, [value for row in rows for value in row])
    _given_rows[cursor] = _statement_of(cursor)


def _fill_from_table(cursor, columns, places, rows):
    """Let a cursor wait with more rows than a statement takes: a temporary table has them."""
    connection = cursor.connection
    level, name = connection.isolation_level, "lk_rows_{}".format(id(rows))
    if not connection.in_transaction:
        connection.isolation_level = None
    try:
        connection.execute("CREATE TEMP TABLE {} ({})".format(name, columns))
        connection.executemany("INSERT INTO {} VALUES {}".format(name, places), rows)
        cursor.execute("SELECT * FROM temp.{}".format(name))
    finally:
        connection.isolation_level = level


def make(held):
    """Open what a connection of the other side is open to."""
    path = held[0] if held and isinstance(held[0], str) else ":memory:"
    _carry.made_here(path)
    made = import_module("sqlite3").connect(path, check_same_thread=False)
    fill(made, held)
    return made


def fill(value, held):
    """Let a connection or a cursor hold what the one of the other side holds."""
    if hasattr(value, "connection"):
        _fill_cursor(value, held)
    elif not held:
        value.close()
    else:
        if isinstance(held[0], bytes):
            _fill_database(value, held[0])
        for name, option in zip(_OF_DATABASES, held[1]):
            setattr(value, name, option)
        if held[-1] is True:  # in a transaction
            value.execute("BEGIN")


def make_cursor(connection):
    """Make a cursor of a connection."""
    return connection.cursor()
