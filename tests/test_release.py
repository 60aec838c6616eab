"""What a release is refused for, and what its files promise."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import release
import yaml
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from matrix import CELLS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lk_jupyter
from lk_jupyter import _docs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = DECLARED["project"]
LOCK = (ROOT / ".ci" / "release-requirements.txt").read_text(encoding="utf-8")
RECIPE = (ROOT / ".ci" / "conda" / "recipe.yaml").read_text(encoding="utf-8")

COMPLETE = {
    "lk_jupyter/__init__.py": 1,
    "lk_jupyter-1.data/data/share/jupyter/labextensions/lk-jupyter/install.json": 1,
    "lk_jupyter-1.data/data/share/jupyter/labextensions/lk-jupyter/static/remoteEntry.0a1b.js": 1,
    "lk_jupyter-1.data/data/etc/jupyter/jupyter_server_config.d/lk_jupyter.json": 1,
    "lk_jupyter-1.dist-info/licenses/LICENSE": 1,
    "lk_jupyter-1.dist-info/entry_points.txt": 1,
}


def test_a_complete_wheel_passes():
    release.complete_wheel(COMPLETE, ["lk_jupyter/__init__.py", "tests/test_release.py"])


@pytest.mark.parametrize("missing", COMPLETE)
def test_a_wheel_that_lacks_a_part_is_refused(missing):
    with pytest.raises(release.CheckFailed, match="the wheel lacks"):
        release.complete_wheel({name: 1 for name in COMPLETE if name != missing}, ["lk_jupyter/__init__.py"])


def test_a_wheel_with_a_file_of_another_package_is_refused():
    with pytest.raises(release.CheckFailed, match=r"the wheel has tests/x.py"):
        release.complete_wheel({**COMPLETE, "tests/x.py": 1}, [])


def test_a_large_file_is_refused():
    with pytest.raises(release.CheckFailed, match=r"above 1 MB: a.png \(1,000,001 bytes\)"):
        release.no_large_file({"a.png": 1_000_001, "b.png": 1_000_000})


def test_a_source_distribution_that_lacks_a_file_is_refused():
    release.complete_sdist({"README.md"}, ["README.md", ".github/workflows/tests.yml"])
    with pytest.raises(release.CheckFailed, match=r"lacks README\.md"):
        release.complete_sdist(set(), ["README.md"])


def test_a_bundled_package_without_its_licence_is_refused():
    bill = {"components": [{"name": name, "version": "1.0"} for name in ("preact", "uplot")]}
    text = "preact 1.0 (MIT)\n\nThe MIT License\n\nuplot 1.0 (MIT)\n\nThe MIT License\n"
    release.lists_what_is_bundled(bill, text)
    with pytest.raises(release.CheckFailed, match="the licence of uplot is missing"):
        release.lists_what_is_bundled(bill, text.replace("uplot 1.0", "uplot 2.0"))


@pytest.mark.parametrize("repository", [None, "https://example.com/ours/lk"])
def test_the_readme_of_the_metadata_has_no_address_that_pypi_cannot_resolve(repository):
    source = (ROOT / "README.md").read_text(encoding="utf-8")
    with pytest.raises(release.CheckFailed, match=r"LICENSE.*cell-light\.gif"):
        release.no_dead_link(source)
    urls = {**PROJECT["urls"], **({"Repository": repository} if repository else {})}
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = ProjectMetadata(str(ROOT), PluginManager(), {**config, "project": {**PROJECT, "urls": urls}})
    readme = project.core.readme
    release.no_dead_link(readme)
    assert project.core.readme_content_type == "text/markdown"
    assert re.findall(r"^```[\s\S]*?^```", readme, re.MULTILINE) == re.findall(
        r"^```[\s\S]*?^```", source, re.MULTILINE
    )
    files = re.findall(rf"{repository}/(?:blob|raw)/v{re.escape(lk_jupyter.__version__)}/([^)#\"]+)", readme)
    assert all((ROOT / file).is_file() for file in files)
    assert len(files) == (len(re.findall(r"\]\((?!https:)|src(?:set)?=", source)) if repository else 0)


def test_the_browser_half_has_the_version_of_the_package():
    for file in _docs.NPM_FILES:
        found = json.loads(file.read_text(encoding="utf-8"))
        versions = {found["version"], found.get("packages", {}).get("", found)["version"]}
        assert versions == {lk_jupyter.__version__}, f"{file.name}: make docs"
    assert _docs.set_version('{"name": "lk-jupyter",\n  "version": "9"}') == (
        f'{{"name": "lk-jupyter",\n  "version": "{lk_jupyter.__version__}"}}'
    )


def test_the_matrix_has_the_oldest_and_newest_python_of_the_classifiers():
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    tested = {cell.python.rstrip("t") for cell in CELLS}
    assert {promised[0], promised[-1]} <= tested <= set(promised)
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_the_workflow_tests_each_cell_of_the_matrix():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))["jobs"]
    rows = jobs["dependencies"]["strategy"]["matrix"]["include"]
    assert {(row["cell"], row["python"]) for row in rows} == {(cell.name, cell.python) for cell in CELLS}


#: Names of conda-forge that differ from those of PyPI.
CONDA_NAMES = {"xxhash": "python-xxhash", "importlib-metadata": "importlib_metadata"}


def test_the_conda_recipe_requires_what_the_package_requires():
    wanted = {}
    for row in map(Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["lab"]]):
        name = CONDA_NAMES.get(row.name, row.name)
        if (
            row.marker is None
            or row.name in {"importlib-metadata", "tomli"}
            or row.marker.evaluate({"python_version": "3.12"})
        ):
            wanted[name] = str(row.specifier)
    listed = RECIPE[RECIPE.index("\n  run:") : RECIPE.index("\ntests:")]
    found = dict(re.findall(r"^    - (\S+) (\S+)$", listed, re.MULTILINE))
    assert found.pop("python") == PROJECT["requires-python"]
    assert found == wanted


def test_the_extension_fits_the_oldest_jupyterlab_that_the_package_allows():
    (oldest,) = (
        str(row.specifier)[2:]
        for row in map(Requirement, PROJECT["optional-dependencies"]["lab"])
        if row.name == "jupyterlab"
    )
    for file in _docs.NPM_FILES:
        found = json.loads(file.read_text(encoding="utf-8"))
        ranges = found.get("packages", {}).get("", found)["dependencies"]
        assert ranges["@jupyterlab/application"] == ranges["@jupyterlab/notebook"] == f"^{oldest}.0"


def test_binder_starts_the_notebooks_on_the_local_cloud_with_an_extra_and_a_python_of_ours():
    folder = ROOT / ".binder"
    assert (folder / "requirements.txt").read_text(encoding="utf-8").split() == [".[demo]"]
    assert "demo" in PROJECT["optional-dependencies"]
    python = (folder / "runtime.txt").read_text(encoding="utf-8").strip().replace("python-", "Python :: ")
    assert f"Programming Language :: {python}" in PROJECT["classifiers"]
    shows = [sys.executable, "-c", "from lk_jupyter.config.settings import setting; print(setting('base_url'))"]
    shown = subprocess.run(["bash", folder / "start", *shows], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "local"


def locked():
    """Return package → requirement of the lock, and package → its hashes."""
    entries = [entry.replace("\\\n", " ").split("--hash=") for entry in re.split(r"\n(?=[a-z])", LOCK) if "==" in entry]
    parsed = {canonicalize_name(Requirement(head).name): Requirement(head) for head, *_ in entries}
    hashes = {canonicalize_name(Requirement(head).name): [each.split()[0] for each in rest] for head, *rest in entries}
    return parsed, hashes


def test_each_package_that_builds_a_release_is_locked_with_its_version_and_hashes():
    packages, hashes = locked()
    assert len(packages) > 20
    for name, requirement in packages.items():
        assert [each.operator for each in requirement.specifier] == ["=="], name
        assert hashes[name], name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes[name]), name
    assert not re.search(r"https?://|index-url|--find-links|\w@", LOCK)


def test_the_lock_is_complete_and_fits_the_declared_requirements():
    packages, _ = locked()
    group = DECLARED["dependency-groups"]["release"]
    assert set(DECLARED["build-system"]["requires"]) <= set(group)
    for text in group:
        wanted = Requirement(text)
        (exact,) = packages[canonicalize_name(wanted.name)].specifier
        assert exact.version in wanted.specifier, f"{text}: run make release-lock"
    imported = {"hatchling": "hatchling", "markdown_it": "markdown-it-py", "twine": "twine"}
    source = (ROOT / "tests" / "release.py").read_text(encoding="utf-8")
    used = {
        name for name in imported if re.search(rf"^from {name}|^import {name}|\"-m\", \"{name}\"", source, re.MULTILINE)
    }
    assert used == set(imported)
    for name, pinned in packages.items():  # whatever the same version needs here is locked too
        with contextlib.suppress(metadata.PackageNotFoundError):
            is_same = metadata.version(name) in pinned.specifier
            needs = [Requirement(text) for text in metadata.requires(name) or ()] if is_same else []
            missing = [need for need in needs if _is_needed(need) and canonicalize_name(need.name) not in packages]
            assert missing == [], f"{name}: run make release-lock"


def _is_needed(need):
    return need.marker is None or need.marker.evaluate({"extra": ""})


def test_a_release_is_built_by_locked_packages_only():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    recipe = makefile.partition("\nrelease-check:")[2].partition("\nrelease-lock:")[0]
    assert "$(RELEASE)/bin/python tests/release.py" in recipe
    assert "--require-hashes" in recipe
    assert "--only-binary :all: -r $(RELEASE_LOCK)" in recipe
    assert "make release-check" in workflow
    assert "pip install" not in workflow
