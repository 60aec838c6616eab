import os
from typing import Any

import pytest
from IPython.core import oinspect

from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine import parser
from lk_jupyter.magics._engine.parser import Subcommands, magic, split
from lk_jupyter.magics._engine.registry import MAGICS, magic_named
from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import NoOptions, Options, RunOptions, format_line


class EveryKind(Options):
    """Options of every kind that a magic may have."""

    where: str = word("Where to.")
    then: list[str] = word("What follows.", [])
    limit: int = option(20, "Most of 100 % to take.", "-n", metavar="N", ge=1)
    dry_run: bool = switch("Do nothing.")


@magic(EveryKind)
def lk_travel(options: EveryKind, _shell: Any) -> EveryKind:
    """Go somewhere.

    Example: ``%lk_travel home``
    """
    return options


@magic(RunOptions)
def lk_compute(options: RunOptions, _shell: Any, cell: str) -> tuple[RunOptions, str]:
    """Compute a cell."""
    return options, cell


@magic(NoOptions)
def lk_rest(options: NoOptions, _shell: Any) -> None:
    """Do nothing."""


lk_ship = Subcommands("lk_ship", "Ships, and where they are.")


@lk_ship.verb("list", NoOptions)
def _list(_options: NoOptions, _shell: Any) -> str:
    """List the ships."""
    return "list"


@lk_ship.verb("send", EveryKind)
def _send(options: EveryKind, _shell: Any) -> EveryKind:
    """Send a ship away.

    Example: ``%lk_ship send home``
    """
    return options


def test_each_kind_of_field_is_read_from_the_line():
    options = lk_travel(None, "home by bus -n 3 --dry-run")
    assert options == EveryKind(where="home", then=["by", "bus"], limit=3, dry_run=True)


def test_what_is_not_on_the_line_has_its_default():
    assert lk_travel(None, "home") == EveryKind(where="home")


def test_a_list_takes_several_values_and_may_be_repeated():
    options, _ = lk_compute(None, "-r torch numpy --label a --label b c --requirements scipy", "pass")
    assert options.requirements == ["torch", "numpy", "scipy"]
    assert options.label == ["a", "b", "c"]


def test_a_value_that_looks_like_an_option_follows_an_equals_sign():
    options, _ = lk_compute(None, "--arg=--epochs --arg=3 --arg -1", "pass")
    assert options.arg == ["--epochs", "3", "-1"]


def test_pairs_become_a_dict():
    options, _ = lk_compute(None, "--metadata paper=figure-3 seed=1=1", "pass")
    assert options.metadata == {"paper": "figure-3", "seed": "1=1"}


def test_a_cell_magic_gets_the_cell():
    assert lk_compute(None, "", "print(1)\n")[1] == "print(1)\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--name 'my run' --gpu \"A100|H100\"", ["--name", "my run", "--gpu", "A100|H100"]),
        ("--name it\\'s # no comment", ["--name", "it's", "#", "no", "comment"]),
        ("  --name=''  ", ["--name="]),
        ("", []),
    ],
)
def test_quotes_work_as_in_a_shell(line, words):
    assert split(line) == words


def test_a_backslash_is_part_of_a_path_on_windows(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    assert split(r'--files C:\data\*.py "C:\my data\a.py"') == ["--files", r"C:\data\*.py", r"C:\my data\a.py"]


@pytest.mark.parametrize(
    ("parse", "line", "message"),
    [
        (lk_compute, "--gpus A100", "%%lk_compute has no option '--gpus'. Did you mean --gpu?"),
        (lk_compute, "--tiemout 3", "%%lk_compute has no option '--tiemout'. Did you mean --timeout?"),
        (lk_compute, "-x", "%%lk_compute has no option '-x'. All options: %%lk_compute?"),
        (lk_compute, "A100", "%%lk_compute takes no 'A100'. All options: %%lk_compute?"),
        (
            lk_compute,
            "--gpu",
            "%%lk_compute needs a value after --gpu. All options: %%lk_compute?",
        ),
        (lk_compute, "--metadata seed", "%%lk_compute: --metadata takes key=value, got 'seed'."),
        (lk_compute, "--name 'open", "Can't read the line (no closing quotation): --name 'open"),
        (lk_rest, "now", "%lk_rest takes no 'now'. All options: %lk_rest?"),
    ],
)
def test_a_slip_is_told_in_one_line_that_says_what_to_do(parse, line, message):
    with pytest.raises(UsageError) as caught:
        parse.parse(line)
    assert str(caught.value) == message


def test_a_value_that_does_not_fit_names_its_option():
    with pytest.raises(UsageError, match=r"--limit must be 1 or more, got '0'\."):
        lk_travel.parse("home --limit 0")


def test_a_missing_value_is_named():
    with pytest.raises(UsageError, match="%lk_travel needs WHERE"):
        lk_travel.parse("-n 3")


def test_help_has_the_usage_the_words_of_the_author_and_every_option():
    said = lk_travel.help()
    assert "%lk_travel [-n N] [--dry-run]" in said
    assert "Example: ``%lk_travel home``" in said
    assert "-n N, --limit N" in said
    assert "Most of 100 % to take. Default: 20." in said


def test_help_of_a_cell_magic_has_both_percent_signs():
    assert "  %%lk_compute [OPTIONS]" in lk_compute.help()


@pytest.mark.parametrize("row", MAGICS, ids=lambda row: row.name)
def test_every_magic_is_where_its_row_says_and_of_that_kind(row):
    found = magic_named(row.name)
    assert found.title == ("%%" if row.kind == "cell" else "%") + row.name


@pytest.mark.parametrize(
    ("magic", "line"),
    [
        ("lk_run", "--save a-b"),
        ("lk_deploy", "local/echo --gpu A100 --save 1x"),
        ("lk_load", "t.parquet --as ''"),
        ("lk_batch", "df.review --model m --save df.answers"),
    ],
)
def test_a_variable_that_python_could_not_name_is_refused_before_anything_is_done(magic, line):
    with pytest.raises(UsageError, match=r"^--(save|as) takes a variable name, got '"):
        magic_named(magic)(None, line)


@pytest.mark.parametrize("row", MAGICS, ids=lambda row: row.name)
def test_a_question_mark_shows_usage_and_options(shell, row):
    title = magic_named(row.name).title
    shown = shell.object_inspect_mime(title)["text/plain"]
    assert f"  {title}" in shown
    assert "<magic" not in shown


def test_pythons_own_help_finds_the_text_too(shell):
    assert "Usage::" in oinspect.getdoc(shell.find_line_magic("lk_login"))
    assert "Usage::" in shell.find_cell_magic("lk_run").__doc__


def test_a_module_docstring_shows_how_a_magic_is_made():
    assert "@magic(StatusOptions)" in parser.__doc__


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--gpu A100",
        "--gpu 'A100|H100' --timeout 600 --max-cost 2.50 --detach",
        "--requirements='torch>=2.4' --requirements=a.txt --label='two words' --metadata a=b=c --metadata 'd= e'",
        "--arg=-1 --arg=--flag --arg='' --name \"it's\" --no-hints --no-rich --save run --resume 3f0c2a9e",
    ],
)
def test_options_can_be_written_as_the_line_that_they_were_read_from(line):
    magic = magic_named("lk_run")
    options = magic.parse(line)
    assert magic.parse(format_line(options)) == options
    assert format_line(magic.parse(format_line(options))) == format_line(options)


def test_a_verb_takes_the_rest_of_the_line_as_a_magic_does():
    assert lk_ship(None, "send 'the sea' -n 3") == EveryKind(where="the sea", limit=3)


def test_without_a_verb_the_first_is_done():
    assert lk_ship(None, "") == "list"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sned home", "%lk_ship has no subcommand 'sned'. Did you mean %lk_ship send?"),
        ("home", "%lk_ship has no subcommand 'home'. Subcommands: list, send."),
        ("send home --limt 3", "%lk_ship send has no option '--limt'. Did you mean --limit?"),
        ("send", "%lk_ship send needs WHERE. All options: %lk_ship send?"),
    ],
)
def test_a_slip_in_a_verb_is_told_in_one_line(line, message):
    with pytest.raises(UsageError) as caught:
        lk_ship(None, line)
    assert str(caught.value) == message


def test_help_of_a_magic_of_verbs_has_the_usage_of_each():
    said = lk_ship.help()
    assert "%lk_ship send [-n N] [--dry-run]" in said
    assert "    Send a ship away.\n" in said


@pytest.mark.parametrize(
    "line", ["%lk_secrets set?", "%lk_secrets set ?", "%lk_secrets set --help", " %lk_secrets set??"]
)
def test_a_question_mark_behind_a_verb_tells_its_options(run_cell, line):
    shown = run_cell(line)
    assert "%lk_secrets set [--from-env VARIABLE]" in shown
    assert "Example" in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--timeout 2x",
            "--timeout must be seconds, or a duration such as 90s, 10m or 1h30m, got '2x'. Example: --timeout 2h",
        ),
        ("--timeout 0s", "--timeout must be 1 or more, got '0s'. Example: --timeout 2h"),
        ("--max-cost much", "--max-cost must be a number, got 'much'. Example: --max-cost 2.50"),
        ("--max-cost 0", "--max-cost must be more than 0, got '0'. Example: --max-cost 2.50"),
        ("--on-interrupt stop", "--on-interrupt must be 'abort' or 'detach', got 'stop'."),
        ("--detach=yes", "%%lk_run takes no value for --detach, got 'yes'. All options: %%lk_run?"),
    ],
)
def test_no_library_speaks_in_a_message(line, message):
    with pytest.raises(UsageError) as caught:
        magic_named("lk_run").parse(line)
    assert str(caught.value) == message
