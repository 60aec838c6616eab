"""How an option is declared, and options that many subcommands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field


def option(  # noqa: PLR0913 (each is another choice)
    default: Any,
    description: str,
    *flags: str,
    metavar: str | None = None,
    positional: bool = False,
    completer: str | None = None,
    greedy: bool = False,
    needs: str = "",
    instead: str = "",
    old_names: Sequence[str] = (),
    aliases: Sequence[str] = (),
    **limits: Any,
) -> Any:
    """Declare an option and the form on a magic's line; ``flags`` are short forms of the name.

    ``completer`` is the source of completions: machines, gpus, runs, settings, keys, paths or places (keys and
    paths). ``greedy`` lets a list consume all words that follow, if the magic's positional words come first. ``needs``
    lists, separated by spaces, the needs of an option that doesn't work everywhere: rows of NEEDS, and ``run`` for an
    option that no cell of a session can honor. ``instead`` is the advice to the user of a session.
    ``old_names`` set the option too, with a warning, until the next release; ``aliases`` set it without a warning.
    """
    settings = {"flags": list(flags), "metavar": metavar, "positional": positional, "completer": completer}
    extra: dict[str, Any] = {**settings, "greedy": greedy, "needs": needs.split(), "instead": instead}
    extra |= {"old_names": list(old_names), "aliases": list(aliases)}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def word(description: str, default: Any = ..., **how: Any) -> Any:
    """Declare an argument without dashes; an argument without a default is required."""
    return option(default, description, positional=True, **how)


def switch(description: str, *flags: str, **how: Any) -> Any:
    """Declare an option without a value."""
    return option(False, description, *flags, **how)  # noqa: FBT003 (off by default)


def yes() -> Any:
    """Declare the switch that answers the question in advance."""
    return switch("Do it without asking.", "-y")


def org() -> Any:
    """Declare the organization."""
    return option(None, "Slug of the organization. Default: the organization in use.", metavar="SLUG", completer="orgs")


def limit(default: int) -> Any:
    """Declare how many entries are listed."""
    return option(default, "Maximum number of entries.", "-n", metavar="N", ge=1, le=100_000)


def run_word() -> Any:
    """Return the field of the id of a run."""
    return word("Id of the run, or its first characters.", metavar="ID", completer="runs")
