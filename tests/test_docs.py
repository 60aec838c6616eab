import inspect
import re
from email.message import Message
from importlib import import_module
from pathlib import Path

import pytest
from conftest import for_each

import lk_jupyter
from lk_jupyter import _docs, _types, errors

ROOT = Path(__file__).parent.parent
ERRORS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.LkError)]


@pytest.mark.parametrize("page", _docs.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_current(page):
    written = page.read_text(encoding="utf-8")
    assert written == _docs.render(written), "run: make docs"


def test_the_types_of_the_pages_are_current():
    assert _types.TYPES.read_text(encoding="utf-8") == _types.render(), "run: make docs"


@pytest.mark.parametrize("name", _docs.TABLES)
def test_every_table_stands_on_a_page(name):
    pages = "".join(page.read_text(encoding="utf-8") for page in _docs.PAGES)
    assert f"<!-- table: {name} -->\n|" in pages


def test_all_lists_what_the_package_serves_on_demand():
    assert sorted([*lk_jupyter.__all__, "__version__"]) == sorted(lk_jupyter._HOMES)
    assert set(lk_jupyter.__all__) <= set(dir(lk_jupyter))
    for name in lk_jupyter.__all__:
        assert (
            getattr(lk_jupyter, name).__name__.removeprefix("lk_jupyter.") == name
        )  # the module ``remote`` is callable


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lk_jupyter.no_such_name


@pytest.mark.parametrize("name", lk_jupyter.__all__)
def test_a_public_name_and_all_of_its_public_parts_say_what_they_do(name):
    thing = getattr(lk_jupyter, name)
    undocumented = [part for part, value in _public_parts(thing) if not inspect.getdoc(value)]
    assert inspect.getdoc(thing)
    assert not undocumented


def _public_parts(thing):
    own = vars(thing) if inspect.isclass(thing) else {}
    return [(name, value) for name, value in own.items() if not name.startswith("_")]


def test_every_magic_can_be_asked_for_help():
    for row in import_module("lk_jupyter.magics").MAGICS:
        shown = import_module("lk_jupyter.magics").magic_named(row.name).help()
        assert "usage" in shown.lower()
        assert "Undefined" not in shown


def test_the_error_tree_is_drawn_whole():
    drawn = re.findall(r"[├└]── (\w+)|^ {4}(\w+)", errors.__doc__, re.MULTILINE)
    assert sorted(filter(None, (a or b for a, b in drawn))) == sorted(kind.__name__ for kind in ERRORS)


def test_each_promise_of_the_security_page_names_a_test_that_is_there():
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    body, _, appendix = page.partition("## Appendix")
    promises = re.findall(
        r"^- (.*?)(?=: )", body.partition("## Promises")[2].partition("## What is not")[0], re.MULTILINE
    )
    tests = dict(re.findall(r"^- (P\d+): (.+)", appendix, re.MULTILINE))
    assert sorted(promises) == sorted(tests)
    assert len(promises) > 100
    assert all(re.search(r"`tests/|`labextension/src/\w+\.test\.ts`", names) for names in tests.values())
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text("utf-8")]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md"])
def test_the_commands_and_paths_of_a_page_for_contributors_are_there(name):
    page = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    told = set(re.findall(r"^make (?:\w+=\S+ )*([a-z][\w-]*)|`make (?:\w+=\S+ )*([a-z][\w-]*)", page, re.MULTILINE))
    assert {line or inside for line, inside in told} <= set(targets)
    rooms = r"(?<![\w/.])(?:lk_jupyter|tests|labextension|notebooks|benchmarks|\.ci|\.binder)/[\w./*-]+"
    missing = [path for path in re.findall(rooms, page) if not any(ROOT.glob(path.rstrip(".")))]
    assert [path for path in missing if not re.search(r"ROOM|FILE|GROUP", path)] == []


def test_the_changelog_of_the_first_release_is_short_and_fixes_nothing():
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40, "extend the line of the topic"
    assert not [line for line in lines if re.match(r"### (Fixed|Changed|Removed|Deprecated)", line)]


def test_the_readme_is_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@for_each(ERRORS[1:], lambda kind: kind.__name__)
def test_the_page_of_an_error_says_what_it_means_what_state_it_leaves_and_how_to_fix_it(kind):
    meaning, state, fix, *_ = inspect.getdoc(kind).split("\n\n")
    assert meaning
    assert state.endswith(".")
    assert fix.startswith("Fix: ")


def test_an_error_links_its_page():
    assert errors.NotSignedIn("No key.")._render_traceback_() == ["NotSignedIn: No key.", "More: %lk_help NotSignedIn"]


def test_a_failed_run_says_its_error_once():
    message = "run 3f0c ended with exit code 1 (ValueError: no).\nRead the log: %lk_logs 3f0c"
    shown = errors.RunFailed(message, execution_id="3f0c", traceback="Traceback\nValueError: no")._render_traceback_()
    assert "\n".join(shown).count("ValueError: no") == 1
    alone = errors.RunFailed(message, execution_id="3f0c")._render_traceback_()
    assert "(ValueError: no)" in alone[0]


def test_an_error_links_the_documentation_site_that_the_package_names(monkeypatch):
    named = Message()
    named["Project-URL"] = "Source, https://code.example"
    named["Project-URL"] = "Documentation, https://docs.example/lk/"
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: named)
    *_, link = errors.NoSuchObject("No file.")._render_traceback_()
    assert link == "More: https://docs.example/lk/reference/errors.html#nosuchobject"


def test_no_page_has_marks_of_a_merge_conflict():
    pages = [path for pattern in ("*.md", "notebooks/**/*.md", "notebooks/**/*.ipynb") for path in ROOT.glob(pattern)]
    assert len(pages) > 40
    conflicts = [path.name for path in pages if re.search(r'^[ "]*(<{7}|>{7}) ', path.read_text("utf-8"), re.MULTILINE)]
    assert conflicts == []
