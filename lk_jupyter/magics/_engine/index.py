"""All that the declarations describe: magics, options, settings, Python names, errors, operations."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from lk_jupyter import errors as error_module
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.magics._engine.parser import Magic, Subcommands, first_sentence
from lk_jupyter.magics._engine.registry import MAGICS, magic_named
from lk_jupyter.magics._engine.topics import SYNONYMS
from lk_jupyter.options.arguments import flags

#: The rank of an entry that doesn't fit a word.
NO_FIT = 4


class IndexEntry(NamedTuple):
    """An entry of the help index: the kind, the name as typed by users, and the description."""

    kind: str
    name: str
    text: str

    def rank(self, word: str) -> int:
        """Return how closely the entry fits a word, in any case: 0 in the name, 1 a synonym in the name, 2 in the text.

        3 is a synonym in the text, 4 no fit.
        """
        spellings = [[word.lower()], list(SYNONYMS.get(word.lower(), ()))]
        fits = [any(spelling in text.lower() for spelling in row) for text in self[1:] for row in spellings]
        return [*fits, True].index(True)


def magics() -> Iterator[IndexEntry]:
    """Iterate over the magics, with their verbs."""
    for row in MAGICS:
        magic = magic_named(row.name)
        verbs = f" Subcommands: {', '.join(magic.verbs)}." if isinstance(magic, Subcommands) else ""
        yield IndexEntry("Magics", magic.title, first_sentence(magic.doc) + verbs)


def verbs() -> Iterator[IndexEntry]:
    """Iterate over the verbs of magics that have some."""
    for magic in iterate_magics():
        if " " in magic.title:
            yield IndexEntry("Verbs", magic.title, first_sentence(magic.doc))


def options() -> Iterator[IndexEntry]:
    """Iterate over the options of all magics and verbs."""
    for magic in iterate_magics():
        for name, field in magic.model.model_fields.items():
            yield IndexEntry("Options", f"{magic.title} {', '.join(flags(name, field))}", field.description or "")


def settings() -> Iterator[IndexEntry]:
    """Iterate over the settings, with their environment variables."""
    for row in SETTINGS:
        yield IndexEntry("Settings", f"%lk_config {row.name}", f"{row.help} ({', '.join(row.env)})")


def python() -> Iterator[IndexEntry]:
    """Iterate over the public names of ``import lk_jupyter``."""
    import lk_jupyter  # noqa: PLC0415 (it imports much when its names are read)

    for name in lk_jupyter.__all__:
        docstring = inspect.getdoc(getattr(lk_jupyter, name)) or ""
        yield IndexEntry("Python", f"lk_jupyter.{name}", first_sentence(docstring).replace("``", ""))


def errors() -> Iterator[IndexEntry]:
    """Iterate over the errors: meaning, remaining state and fix."""
    for name, kind in vars(error_module).items():
        if inspect.isclass(kind) and issubclass(kind, error_module.LkError):
            yield IndexEntry("Errors", name, " ".join((inspect.getdoc(kind) or "").replace("``", "").split()))


def operations() -> Iterator[IndexEntry]:
    """Iterate over the operations of the typed client, with the magic that calls each."""
    from lk_jupyter.api._client import Client  # noqa: PLC0415 (as above)
    from lk_jupyter.api._endpoint import ENDPOINTS, Group  # noqa: PLC0415

    client = Client("http://127.0.0.1")
    groups = {type(part): name for name in vars(Client) if isinstance(part := getattr(client, name), Group)}
    for endpoint in ENDPOINTS:
        name = f"{groups[endpoint.owner]}.{endpoint.name}"
        magic = ", ".join(endpoint.magics) or endpoint.no_magic.replace("`", "")
        summary = first_sentence(inspect.cleandoc(endpoint.__doc__ or "")).replace("``", "")
        yield IndexEntry("Operations", f"session.client.{name}", f"{summary} ({magic})" if magic else summary)


def iterate_magics() -> Iterator[Magic]:
    """Iterate over magics, and over verbs in place of magics that have some."""
    for row in MAGICS:
        magic = magic_named(row.name)
        if isinstance(magic, Subcommands):
            yield from magic.verbs.values()
        else:
            yield magic


def all_entries() -> list[IndexEntry]:
    """Return the entries of all kinds."""
    return [*magics(), *verbs(), *options(), *settings(), *python(), *errors(), *operations()]


def search_entries(words: Iterable[str]) -> list[IndexEntry]:
    """Return the entries that contain all of the words or their synonyms, the closest first."""
    terms = [word.lstrip("%") for word in words]
    if named := [entry for entry in errors() if [entry.name] == terms]:
        return named
    ranks = [(max(entry.rank(word) for word in terms), entry) for entry in all_entries()]
    return [entry for rank, entry in sorted(ranks, key=lambda pair: pair[0]) if rank < NO_FIT]


def similar_words(words: Iterable[str]) -> list[str]:
    """Return words of the index that are similar to the given words."""
    vocabulary = set(SYNONYMS) | {
        part.strip("-%") for entry in all_entries() for part in entry.name.replace(".", " ").split()
    }
    return [close for word in words for close in get_close_matches(word.lstrip("%-"), vocabulary, n=2)]


def find_by_name(words: Iterable[str]) -> Magic | Subcommands | None:
    """Return the magic, or the verb of a magic, with exactly this name; None if no magic matches."""
    name, *verb = [word.lstrip("%") for word in words]
    name = name if name.startswith("lk_") else f"lk_{name}"
    if name not in {row.name for row in MAGICS}:
        return None
    magic = magic_named(name)
    if not verb:
        return magic
    return magic.verbs.get(verb[0]) if isinstance(magic, Subcommands) and len(verb) == 1 else None
