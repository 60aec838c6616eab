"""``%lk_help``: one page of everything, made from the declarations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import UsageError
from lk_jupyter.magics import _about
from lk_jupyter.magics._about import Entry
from lk_jupyter.magics._fields import switch, word
from lk_jupyter.magics._line import Text
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._views import Table
from lk_jupyter.options import Options
from lk_jupyter.widgets.pictures.table import picture

#: What is found of one kind and shown.
MOST = 30


class HelpOptions(Options):
    """Options of ``%lk_help``."""

    words: list[str] = word("Words to look for, or the name of a magic.", [], metavar="WORD", completer="magics")
    all: bool = switch("Show every option and every operation too.")


@magic(HelpOptions)
def lk_help(options: HelpOptions, shell: InteractiveShell) -> None:  # noqa: ARG001 (every magic takes both)
    """Show all that there is on one page, or what has some words in it: magics, options, settings, Python.

    Examples::

        %lk_help
        %lk_help budget
        %lk_help vm create
    """
    if not options.words:
        _show(_about.everything() if options.all else _overview(), most=None, note="" if options.all else _more())
        return
    if magic := _about.exactly(options.words):
        display(Text(magic.help().splitlines()))
        return
    entries = _about.found(options.words)
    if not entries:
        close = _about.near(options.words)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"Nothing here has {' and '.join(options.words)}. {hint}%lk_help alone shows all.")
    _show(entries, most=MOST)


def _overview() -> list[Entry]:
    return [*_about.magics(), *_about.settings(), *_about.python()]


def _more() -> str:
    options, operations = sum(1 for _ in _about.options()), sum(1 for _ in _about.operations())
    return (
        f"%lk_help WORD also searches {options} options and {operations} operations; --all lists them. A question "
        "mark tells the options of a magic: %%lk_run?"
    )


def _show(entries: Iterable[Entry], *, most: int | None, note: str = "") -> None:
    """Show entries in a table for each kind, in the order of the page."""
    kinds = ("Magics", "Verbs", "Options", "Settings", "Python", "Operations")
    ordered = sorted(entries, key=lambda entry: kinds.index(entry.kind))
    tables = [_table(kind, list(group), most) for kind, group in groupby(ordered, key=lambda entry: entry.kind)]
    if note:
        tables[-1] = Table(tables[-1].columns, tables[-1].rows, note, caption=tables[-1].caption)
    display(picture(*tables).bundle(), raw=True)


def _table(kind: str, entries: list[Entry], most: int | None) -> Table:
    shown = entries if most is None else entries[:most]
    rest = "" if len(shown) == len(entries) else f"… and {len(entries) - len(shown)} more: give another word."
    return Table(("Name", "What it does"), [(entry.name, entry.text) for entry in shown], rest, caption=kind)
