"""Options of ``Session.history``, and of the magics that list runs or read runs that have ended."""

from __future__ import annotations

from lk_jupyter.options.fields import option, run_word, switch, word
from lk_jupyter.options.runs import FollowOptions, Options, RunsOptions


class HistoryOptions(Options):
    """Options of ``Session.history``, and of ``%lk_history``."""

    text: list[str] = word("Words to search for in code, name, labels, note, metadata, notebook and error.", [])
    machine: str | None = option(None, "Only runs on this machine type.", metavar="NAME", completer="machines")
    state: str | None = option(None, "Only runs in this state, such as failed.")
    label: list[str] = option([], "Only runs with this label; may be repeated.")
    since: str | None = option(
        None, "Only runs that started since a date, or within a duration such as 7d, 12h or 30m.", metavar="WHEN"
    )
    notebook: str | None = option(None, "Only runs of this notebook.", metavar="NAME")
    audit: bool = switch("Instead of runs, list changes and deletions of keys, members, VMs, deployments and secrets.")
    limit: int = option(50, "Maximum number of runs.", "-n", metavar="N", ge=1, le=100_000)


class HistoryMagicOptions(HistoryOptions):
    """Options of ``%lk_history``."""

    older: int | None = option(
        None,
        "With prune: delete runs that are older than this number of days. Default: the setting journal_days.",
        metavar="DAYS",
        ge=1,
        le=36_500,
    )


class NoteOptions(Options):
    """Options of ``%lk_note``."""

    run: str = run_word()
    text: list[str] = word("Text of the note.", [])
    delete: bool = switch("Delete the note.")


class DiffOptions(Options):
    """Options of ``%lk_diff``."""

    before: str = run_word()
    after: str = run_word()
    more: list[str] = word("More runs, up to eight in total.", [])


class RerunOptions(FollowOptions):
    """Options of ``%lk_rerun``."""

    run: str = run_word()
    machine: str | None = option(
        None,
        "Machine for the new run, if not the original machine: a machine type, or a GPU such as A100.",
        metavar="NAME",
        completer="machines",
    )
    timeout: int | None = option(None, "Another time limit, in seconds.", metavar="SECONDS", ge=1)


class ExportOptions(Options):
    """Options of ``%lk_export``."""

    run: str = run_word()
    file: str | None = word(
        "File to write. Without a file, the script is shown; with --html, the default is run-ID.html.", None
    )
    html: bool = switch("Write a page with curves, figures, code and cost.")


class RunsMagicOptions(RunsOptions):
    """Options of ``%lk_runs``."""

    stop_all: bool = switch(
        "Stop everything that the account pays for by time, after a list with the cost per hour. Volumes stay."
    )
    yes: bool = switch("With --stop-all: skip the question.", "-y")
