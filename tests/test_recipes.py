"""The recipes of CONTRIBUTING.md, followed on a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Recipe → file → the text that a contributor adds, and the line before it.
HINT = {
    "lk_jupyter/runs/observers/rules.py": (
        "RULES: tuple[Rule, ...] = (\n",
        '    Rule("failed", lambda case: "Water the plants." if "WiltedError" in case.log else None),\n',
    ),
    "tests/runs/observers/test_rules.py": (
        "# CUDA out of memory\n",
        '\n\ndef test_recipe():\n    assert said(log="WiltedError", record=record()) == ["Water the plants."]\n',
    ),
}
OPTION = {
    "lk_jupyter/options/runs.py": (
        '    """Options of ``%%lk_run`` and ``Session.run``."""\n',
        '\n    sign: bool = switch("Print a signature when the code starts.")\n',
    ),
    "lk_jupyter/runs/package/prepare.py": (
        '    require_support(options, "A single run", {"several"})\n',
        "    if options.sign:\n        source = replace(source, code=f\"print('signed')\\n{source.code}\")\n",
    ),
    "tests/test_session.py": (
        'pytestmark = pytest.mark.usefixtures("home")\n',
        '\n\ndef test_recipe(session):\n    assert "signed" in session.run("1", sign=True).result().stdout\n',
    ),
}
REFUSED_OPTION = {
    "lk_jupyter/options/runs.py": (
        '    """Options of ``%%lk_run`` and ``Session.run``."""\n',
        '\n    solo: bool = switch("Run the code alone.", needs="run")\n',
    ),
}
FORGOTTEN_OPTION = {
    "lk_jupyter/options/runs.py": (
        '    """Options of ``%%lk_run`` and ``Session.run``."""\n',
        '\n    void: bool = switch("Change nothing.")\n',
    ),
}
ENDPOINT = {
    "lk_jupyter/api/health.py": (
        "class Health(Group):\n",
        (
            '    @GET("/health/echo", auth=False, no_magic="None: an example.")\n'
            '    def echo(self, text: str) -> Message | None:\n        """Return a text."""\n        ...\n\n'
        ),
    ),
    "lk_jupyter/localcloud/routes/health.py": (
        'VERSION = metadata.version("lk_jupyter")\n',
        (
            "\n\n@implements(Health.echo)\ndef echo(ctx: AnonymousContext, text: str) -> dict[str, str]:\n"
            '    """Return a text."""\n    return {"message": text}\n'
        ),
    ),
    "tests/api/calls_health.py": (
        "from lk_jupyter.api.health import Health\n",
        (
            "\n\n@calls(Health.echo)\ndef echo(client, ended):\n"
            '    assert client.health.echo("hello").message == "hello"\n'
        ),
    ),
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A copy of the repository in which the recipes were followed, with its generated files made again."""
    copy = tmp_path_factory.mktemp("recipes") / "lk_jupyter"
    caches = shutil.ignore_patterns(".git", ".venv*", ".out", "node_modules", "*cache*", ".hypothesis", "*.ipynb")
    shutil.copytree(ROOT, copy, ignore=caches)
    for recipe in (HINT, OPTION, REFUSED_OPTION, FORGOTTEN_OPTION, ENDPOINT):
        for name, (anchor, addition) in recipe.items():
            path = copy / name
            text = path.read_text(encoding="utf-8")
            assert text.count(anchor) == 1, (name, anchor)
            path.write_text(text.replace(anchor, anchor + addition), encoding="utf-8")
    made = python(copy, "-m", "lk_jupyter._docs")
    assert made.returncode == 0, made.stderr
    return copy


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def failures(folder, *tests):
    """Return the tests that fail in the copy, after a check that all others pass."""
    shown = python(folder, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests).stdout
    assert re.search(r"^\d+ (?:passed|failed)", shown, re.MULTILINE), shown
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", shown, re.MULTILINE)


def recipe_row(start):
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return next(line for line in page.splitlines() if line.startswith(f"| {start}"))


@pytest.mark.parametrize(
    ("recipe", "row", "files"),
    [(HINT, "a hint", 2), (OPTION, "an option", 3), (ENDPOINT, "an endpoint", 3)],
    ids=["hint", "option", "endpoint"],
)
def test_a_recipe_edits_few_files_and_its_row_lists_each_that_is_no_test(recipe, row, files):
    assert len(recipe) == files
    (first, *_) = recipe
    group = re.sub(r"api/\w+\.py", "api/GROUP.py", first)
    assert f"`{group}`" in recipe_row(row)


@pytest.mark.nightly
def test_a_new_hint_option_and_endpoint_are_documented_typed_and_tested(scratch):
    assert "`--sign`" in (scratch / "notebooks/reference/options.md").read_text(encoding="utf-8")
    assert "sign: bool | None" in (scratch / "lk_jupyter/options/_keywords.py").read_text(encoding="utf-8")
    operations = (scratch / "notebooks/reference/operations.md").read_text(encoding="utf-8")
    assert re.search(r"client\.health\.echo.*None: an example\. \| not described", operations)
    with_magics = "tests/test_operations.py::test_all_but_a_few_operations_have_a_magic_and_those_have_a_reason"
    assert failures(scratch, "tests/runs/observers/test_rules.py::test_recipe", with_magics) == []


@pytest.mark.nightly
def test_a_new_option_is_honored_or_refused_in_a_session_and_a_new_endpoint_keeps_the_contract(scratch):
    session = "tests/test_session.py::test_each_option_is_honored_or_refused_in_a_session"
    tests = (
        "tests/test_session.py::test_recipe",
        *(f"{session}[{name}]" for name in ("sign", "solo", "void")),
        "tests/api/test_groups.py::test_the_operation_does_on_the_local_cloud_what_its_name_says[Health.echo]",
        "tests/test_contract.py",
        "tests/localcloud/test_routes.py",
    )
    assert failures(scratch, *tests) == [f"{session}[void]"]
