import re

import pytest

import lk_jupyter
from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.magics._engine.registry import MAGICS, magic_named
from lk_jupyter.magics._engine.topics import TOPICS
from lk_jupyter.options.groups import COMMON, GROUPS
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.notebooks.session_machine import IDLE_MINUTES


def test_the_page_has_every_magic_every_setting_and_every_name_of_python(run_cell):
    shown = run_cell("%lk_help")
    for title in (magic_named(row.name).title for row in MAGICS):
        assert re.search(rf"^{title} ", shown, re.MULTILINE), title
    assert all(f"%lk_config {row.name} " in shown for row in SETTINGS)
    assert all(f"lk_jupyter.{name} " in shown for name in lk_jupyter.__all__)
    assert f"and {len(ENDPOINTS)} operations" in shown


def test_all_has_every_option_and_every_operation(run_cell):
    shown = run_cell("%lk_help --all")
    assert shown.count("session.client.") == len(ENDPOINTS)
    assert "%%lk_run --max-cost" in shown
    assert "%lk_vm create --new-volume" in shown


def test_words_find_what_has_all_of_them(run_cell):
    shown = run_cell("%lk_help voucher")
    assert re.search(r"^%lk_billing voucher +Show the value of a voucher", shown, re.MULTILINE)
    assert "session.client.voucher.validate" in shown
    assert "%lk_ls" not in shown
    assert "%lk_config day_budget" in run_cell("%lk_help budget day")


@pytest.mark.parametrize("words", ["vm create", "%lk_vm create", "lk_vm create"])
def test_the_name_of_a_magic_or_verb_gives_its_help(run_cell, words):
    assert "%lk_vm create --gpu NAME" in run_cell(f"%lk_help {words}")


def test_a_word_that_nothing_has_is_told_with_one_that_is_like_it(run_cell):
    shown = run_cell("%lk_help vocher")
    assert shown.startswith("UsageError: No help entry contains 'vocher'. Did you mean voucher")
    assert "Overview: %lk_help" in run_cell("%lk_help qqqqqqqq")


def test_the_page_is_rich_with_a_twin_in_text(shell, monkeypatch):
    published = []
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, *_, **__: published.append(data))
    shell.run_cell("%lk_help spot")
    (bundle,) = published
    text = re.sub(r"<[^>]+>", " ", bundle["text/html"])
    assert "%lk_vm create --spot" in bundle["text/plain"]
    assert "%lk_vm create --spot" in text


def test_every_option_says_what_it_does():
    for row in MAGICS:
        magic = magic_named(row.name)
        for each in getattr(magic, "verbs", {"": magic}).values():
            for name, field in each.model.model_fields.items():
                assert field.description, (each.title, name)


@pytest.mark.parametrize("row", MAGICS, ids=lambda row: row.name)
def test_every_magic_shows_its_help_and_starts_nothing(run_cell, row):
    for line in ("--help", "-h"):
        shown = run_cell(f"%%{row.name} {line}\nraise SystemExit" if row.kind == "cell" else f"%{row.name} {line}")
        assert "Usage" in shown
        assert row.name in shown


def test_help_is_shown_behind_other_options_too(run_cell):
    assert "Usage" in run_cell("%%lk_run --gpu A100 --help\nraise SystemExit")


def test_a_short_option_of_the_clouds_own_tool_is_translated(run_cell):
    assert "Did you mean --machine?" in run_cell("%%lk_run -m cpu\n1")


def test_the_help_of_a_run_starts_with_six_commented_lines_and_groups_every_option(run_cell):
    output = run_cell("%%lk_run --help\nraise SystemExit")
    head, *groups = re.split(r"^([A-Z][a-z ]+):\n", output.partition("Most used::")[2], flags=re.MULTILINE)
    assert len(re.findall(r"^ +%%lk_run --gpu A100.*  # \w", head, re.MULTILINE)) == 6
    assert groups[::2] == [group.title for group in GROUPS]
    for (title, _, example), text in zip(GROUPS, groups[1::2], strict=True):
        assert text.lstrip().startswith(f"{example.line}  # {example.comment}"), title
    assert "All options, in groups with examples: " in output


def test_every_option_of_a_run_is_in_one_group_and_every_example_parses():
    names = [name for group in GROUPS for name in group.options]
    assert sorted(names) == sorted(RunOptions.model_fields)
    magic = magic_named("lk_run")
    for example in [*COMMON.values(), *(group.example for group in GROUPS)]:
        assert magic.parse(example.line.removeprefix("%%lk_run ")), example
    assert all(getattr(magic.parse(example.line.removeprefix("%%lk_run ")), name) for name, example in COMMON.items())


@pytest.mark.parametrize(
    ("words", "magic"),
    [
        *((word, "%lk_abort") for word in ("stop", "kill", "cancel", "terminate", "stop job")),
        ("reconnect", "%lk_attach"),
        ("pip", "%%lk_run -r"),
        ("spend", "%lk_balance"),
        ("serve", "%lk_deploy"),
        ("ssh", "%lk_vm"),
        ("token", "%lk_keys"),
        ("upload", "%lk_put"),
        ("quit", "%lk_abort"),
        ("vscode", "%lk_vm code"),
        ("oom", "%%lk_run --memory"),
    ],
)
def test_words_of_other_tools_find_the_magic(run_cell, words, magic):
    lines = run_cell(f"%lk_help {words}").splitlines()
    assert any(line.startswith(magic) for line in lines[:5]) or (magic == "%%lk_run -r" and magic in "\n".join(lines))


def test_every_magic_is_in_one_topic():
    names = [f"lk_{name}" for names in TOPICS.values() for name in names]
    assert sorted(names) == sorted(row.name for row in MAGICS)


def test_the_help_states_the_idle_time_after_which_a_session_ends(run_cell):
    text = " ".join(run_cell("%%lk_run --help\nraise SystemExit").split())
    assert f"unless its time limit ends earlier. Default: {IDLE_MINUTES:g}." in text
