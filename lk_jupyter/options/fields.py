"""Fields that many subcommands share, and short ways to declare others."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lk_jupyter.options.runs import flag_of


def word(description: str, default: Any = ..., *, completer: str | None = None, metavar: str | None = None) -> Any:
    """Declare an argument without dashes; without a default it must be given."""
    extra = flag_of(metavar=metavar, positional=True, completer=completer)
    return Field(default, description=description, json_schema_extra=extra)


def option(
    default: Any,
    description: str,
    *flags: str,
    metavar: str | None = None,
    completer: str | None = None,
    **limits: Any,
) -> Any:
    """Declare an option that takes a value."""
    extra = flag_of(*flags, metavar=metavar, completer=completer)
    return Field(default, description=description, json_schema_extra=extra, **limits)


def switch(description: str, *flags: str) -> Any:
    """Declare an option that takes no value."""
    return Field(default=False, description=description, json_schema_extra=flag_of(*flags))


def yes() -> Any:
    """Declare the switch that answers the question in advance."""
    return switch("Do it without asking.", "-y")


def org() -> Any:
    """Declare the organization."""
    return option(None, "Organization, by its slug. Default: the one in use.", metavar="SLUG", completer="orgs")


def limit(default: int) -> Any:
    """Declare how many entries are listed."""
    return option(default, "Maximum number of entries.", "-n", metavar="N", ge=1, le=100_000)
