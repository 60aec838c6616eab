"""The guide: every notebook runs to its end, and shows what it is kept with."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module, metadata

import books
import nbformat
import pytest
from cloud_process import forked_kernels
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement

from lk_jupyter import widgets
from lk_jupyter.code.imports import providers
from lk_jupyter.magics._engine.registry import magic_named

PATHS = [pytest.param(path, id=path.stem) for path in books.paths()]

#: Notebooks whose magics other notebooks or many tests use too: they are executed in the night, and by make guide.
BY_NIGHT = {
    *("03-chat", "04-deployments", "05-batches", "06-whole-notebooks", "automation", "from-colab", "close-laptop"),
    *(
        "dask",
        "hours",
        "many-tasks",
        "offline",
        "out-of-memory",
        "outside-jupyterlab",
        "own-code",
        "share-a-bucket",
        "spend-no-more",
    ),
    "large-data",
    "05-variables",
    *("02-interrupt", "06-fan-out", "07-money", "08-time-limit", "09-doctor"),
    *("11-progress-bars", "12-secret-guard", "04-rich-output", "07-vms", "08-team", "10-ledger", "widgets"),
}
EXECUTED = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.nightly] if path.stem in BY_NIGHT else [])
    for path in books.paths()
    if path.parent != books.COOKBOOK
]

#: Of a hundred words that a notebook shows, so many may be others the next time, or so few where it shows
#: not many: the machine that was fastest, whether a run waited, ...
CHANCE, FEW = 5, 3


@pytest.mark.parametrize("path", EXECUTED)
def test_a_notebook_of_the_guide_shows_what_it_is_kept_with(path, make_cloud, tmp_path):
    cloud = make_cloud()
    kept = nbformat.read(path, as_version=4)
    with forked_kernels():
        book = books.execute(path, tmp_path, cloud.base_url, cloud.api_key)
    assert books.failures(book) == []
    assert books.shape(book) == books.shape(kept)
    words = books.words(kept)
    changed = words ^ books.words(book)
    assert len(changed) <= max(FEW, CHANCE * len(words) / 100), changed


@pytest.mark.parametrize("path", PATHS)
def test_the_guide_has_a_plain_text_twin_of_every_picture_and_table(path):
    book = nbformat.read(path, as_version=4)
    rich = [output.data for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    assert all(data.get("text/plain", "").strip() for data in rich if data.get("text/html", "x").strip())


@pytest.mark.parametrize("name", widgets.__all__)
def test_each_widget_has_a_docstring_and_a_chapter_with_its_picture(name):
    cells = nbformat.read(books.NOTEBOOKS / "widgets.ipynb", as_version=4).cells
    chapter = next(cell.source for cell in cells if cell.source.startswith(f"## {name}\n"))
    pictures = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", chapter)
    assert pictures
    assert all((books.NOTEBOOKS / picture).is_file() for picture in pictures)
    assert len(inspect.getdoc(getattr(widgets, name)).splitlines()) > 2


def test_no_shell_line_of_a_notebook_changes_what_is_the_users_or_waits_for_an_answer():
    lines = [
        line
        for path in [*books.paths(), *books.TOLD]
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for line in re.findall(r"^[!%]+(?!lk_).*", cell.source, re.MULTILINE)
    ]
    assert len(lines) > 5
    assert [line for line in lines if "~" in line or "$HOME" in line] == []
    assert [line for line in lines if "ssh-keygen" in line and "test -e guide_key ||" not in line] == []


@pytest.mark.nightly
def test_make_lab_copies_all_that_its_notebooks_show_and_link(tmp_path):
    subprocess.run(["make", "lab-files", f"LAB={tmp_path}"], cwd=books.NOTEBOOKS.parent, check=True)
    missing = set()
    for book in sorted(tmp_path.rglob("*.ipynb")):
        for cell in nbformat.read(book, as_version=4).cells:
            for target in re.findall(
                r"\]\((?!https?:|#)([^)\s#]+)", cell.source if cell.cell_type == "markdown" else ""
            ):
                if not (book.parent / target).exists():
                    missing.add(f"{book.name}: {target}")
    assert missing == set()
    assert len(list(tmp_path.rglob("*.ipynb"))) == len([*books.paths(), *books.TOLD])
    (tmp_path / "quickstart.ipynb").write_text("mine")
    subprocess.run(["make", "lab-files", f"LAB={tmp_path}"], cwd=books.NOTEBOOKS.parent, check=True)
    assert (tmp_path / "quickstart.ipynb").read_text() == "mine"


def _closure(requirement):
    """Return the names of the packages that an installation of this requirement brings."""
    found, waiting = set(), [Requirement(requirement)]
    while waiting:
        asked = waiting.pop()
        for extra in asked.extras or {""}:
            key = (_plain(asked.name), extra)
            if key not in found:
                found.add(key)
                needs = map(Requirement, metadata.requires(asked.name) or ())
                waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def _plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports(book):
    """Return the modules that the cells import, start or have clients of, but for cells that are meant to fail."""
    sources = [
        cell.source
        for cell in book.cells
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", ())
    ]
    written = {match[1] for source in sources for match in re.finditer(r"^%%writefile (\w+)\.py", source)}
    for source in sources:
        yield from re.findall(r"^!.*(?:python|executable\}).* -m (\w+)", source, re.MULTILINE)
        yield from re.findall(r"\blk_jupyter\.(openai|anthropic)\(", source)
        if not source.startswith("%%") or re.match(r"%%(lk_run\b|writefile \w+\.py)", source):
            tree = ast.parse(TransformerManager().transform_cell(re.sub(r"^%%.*", "", source)))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    yield from (name.name.partition(".")[0] for name in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] not in written:
                    yield node.module.partition(".")[0]


@pytest.mark.nightly
def test_what_the_notebooks_import_comes_with_the_packages_of_make_lab():
    installed = _closure("lk-jupyter[demo]")
    known = {*sys.stdlib_module_names, "lk_jupyter"}
    known |= {module for module, names in providers().items() if installed & set(map(_plain, names))}
    every = [path for path in [*books.paths(), *books.TOLD] if path.parent != books.COOKBOOK]
    missing = {path.name: set(_imports(nbformat.read(path, as_version=4))) - known for path in every}
    assert {name: modules for name, modules in missing.items() if modules} == {}


def test_the_install_command_of_the_readme_brings_what_the_quickstart_and_its_buttons_need():
    root = books.NOTEBOOKS.parent
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    extras = toml.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (extra,) = re.findall(r"^pip install '\.\[(\w+)\]'", (root / "README.md").read_text("utf-8"), re.MULTILINE)

    def expand(name):
        for requirement in map(Requirement, extras[name]):
            parts = requirement.extras if _plain(requirement.name) == "lk-jupyter" else ()
            yield from (package for part in parts for package in expand(part))
            yield _plain(requirement.name)

    packages = set(expand(extra))
    known = {*sys.stdlib_module_names, "lk_jupyter"}
    known |= {module for module, names in providers().items() if packages & set(map(_plain, names))}
    book = nbformat.read(books.NOTEBOOKS / "quickstart.ipynb", as_version=4)
    assert set(_imports(book)) - known == set()
    assert {"pandas", "asyncssh", "jupyterlab"} <= packages  # "Load into pandas", --timeout 3h


PAGES = [*sorted(books.NOTEBOOKS.rglob("*.md")), books.NOTEBOOKS.parent / "README.md"]
CODE = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (_, code) in enumerate(
        re.findall(r"^```(ipython|python)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize("code", CODE)
def test_code_of_a_page_is_python_and_its_magics_take_their_options(code):
    first, _, cell = code.partition("\n") if code.startswith("%%") else ("", "", code)
    transformed = TransformerManager().transform_cell(cell)
    compile(transformed, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    lines = [first, *re.findall(r"^%lk_.*", cell, re.MULTILINE)]
    for name, options in (
        re.match(r"%+(\w+) ?(.*)", line).groups() for line in lines if line.startswith(("%%lk_", "%lk_"))
    ):
        magic_named(name).parse(options) if hasattr(magic_named(name), "parse") else magic_named(name).split(options)


def test_the_python_of_the_readme_runs_on_the_local_cloud_that_it_signs_in_to(cloud, tmp_path):
    readme = (books.NOTEBOOKS.parent / "README.md").read_text("utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    book = new_notebook(cells=[new_code_cell(snippet) for snippet in snippets])
    with forked_kernels():
        book = books.run(book, tmp_path, {"LK_LOCAL_DATA": str(cloud.data)})
    assert books.failures(book) == []
    login, run, variable, program = ("\n".join(books.texts(cell)) for cell in book.cells)
    assert "local cloud" in login.lower()
    assert "Hello from a run" in run
    assert variable == str(sum(range(1_000_000)))
    assert program.split() == ["42", "[0.2,", "0.02]"]
