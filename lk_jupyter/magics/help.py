"""``%lk_help``: a page with all magics, options and settings, generated from the declarations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine import index
from lk_jupyter.magics._engine.index import IndexEntry
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._engine.topics import TOPICS, magic_topic
from lk_jupyter.magics._output.live import Text
from lk_jupyter.options.fields import switch, word
from lk_jupyter.options.runs import Options
from lk_jupyter.views.table import join_tables

#: Maximum number of search results of a kind.
MOST = 30


class HelpOptions(Options):
    """Options of ``%lk_help``."""

    words: list[str] = word(
        "Words to search for, or the name of a magic or an error.", [], metavar="WORD", completer="magics"
    )
    all: bool = switch("Show every option and every operation too.")


@magic(HelpOptions)
def lk_help(options: HelpOptions, shell: InteractiveShell) -> None:  # noqa: ARG001 (every magic takes both)
    """Show all help by topic, or search magics, options, settings, Python functions and errors.

    The search also knows the words of other tools: "cancel" or "kill" finds %lk_abort.

    Examples::

        %lk_help
        %lk_help budget
        %lk_help cancel
        %lk_help vm create
        %lk_help NotSignedIn
    """
    if not options.words:
        overview = [*_sort_by_topic(index.magics()), *index.settings(), *index.python()]
        rest = [*index.verbs(), *index.options(), *index.errors(), *index.operations()] if options.all else []
        _show_entries([*overview, *rest], most=None, note="" if options.all else _format_search_note())
        return
    if magic := index.find_by_name(options.words):
        display(Text(magic.help().splitlines()))
        return
    entries = index.search_entries(options.words)
    if not entries:
        close = index.similar_words(options.words)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"No help entry contains '{' and '.join(options.words)}'. {hint}Overview: %lk_help")
    _show_entries(entries, most=MOST)


def _format_search_note() -> str:
    options, operations = sum(1 for _ in index.options()), sum(1 for _ in index.operations())
    return (
        f"%lk_help WORD also searches {options} options and {operations} operations; --all lists them. To see "
        "the options of a magic, add a question mark: %%lk_run?"
    )


def _sort_by_topic(magics: Iterable[IndexEntry]) -> list[IndexEntry]:
    """Return the magics in the order of the topics; the topic is the kind of each."""
    entries = [entry._replace(kind=magic_topic(entry.name.lstrip("%"))) for entry in magics]
    ranks = {name: rank for rank, name in enumerate(name for names in TOPICS.values() for name in names)}
    return sorted(entries, key=lambda entry: ranks.get(entry.name.lstrip("%").removeprefix("lk_"), len(ranks)))


def _show_entries(entries: Iterable[IndexEntry], *, most: int | None, note: str = "") -> None:
    """Show entries in a table for each kind, in the order of the page."""
    kinds = (*TOPICS, "Magics", "Verbs", "Options", "Settings", "Python", "Errors", "Operations")
    ordered = sorted(entries, key=lambda entry: kinds.index(entry.kind))
    tables = [_build_table(kind, list(group), most) for kind, group in groupby(ordered, key=lambda entry: entry.kind)]
    if note:
        tables[-1] = Table(tables[-1].columns, tables[-1].rows, note, caption=tables[-1].caption)
    display(join_tables(*tables).bundle(), raw=True)


def _build_table(kind: str, entries: list[IndexEntry], most: int | None) -> Table:
    visible = entries if most is None else entries[:most]
    rest = (
        ""
        if len(visible) == len(entries)
        else f"… and {len(entries) - len(visible)} more: add a word to narrow the search."
    )
    return Table(("Name", "What it does"), [(entry.name, entry.text) for entry in visible], rest, caption=kind)
