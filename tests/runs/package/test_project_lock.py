"""Runs install what the lock of their project lists, and nothing else."""

import json

import pytest
from wheels import as_pylock, as_requirements, choose_packages, write_index

from lk_jupyter.config.settings import save
from lk_jupyter.errors import RunFailed, UsageError
from lk_jupyter.session import connect

pytest.importorskip("packaging.pylock")

CODE = """import json
from importlib import metadata
names = {name: d.version for d in metadata.distributions() if (name := d.name.replace("-", "_")).startswith("lk_tiny")}
print(json.dumps(names))
"""


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Wheels, which runs of new clouds install instead of those of an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return write_index(folder)


@pytest.fixture
def project(home, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)
    return folder


def locked_runs(seeds, index, project, session):
    """Yield the chosen versions and those that a run with their lock installed."""
    for seed in seeds:
        chosen = choose_packages(index, seed)
        forms = {"pylock.toml": as_pylock, "requirements.txt": as_requirements}
        name = sorted(forms)[seed % 2]
        (project / name).write_text(forms[name](index, chosen))
        run = session.run(CODE, requirements=["project"])
        yield chosen, json.loads(run.result().stdout), run
        (project / name).unlink()


@pytest.mark.nightly
def test_a_run_installs_the_versions_of_the_lock_and_records_it(make_cloud, index, project):
    cloud = make_cloud()
    with connect(cloud.base_url, cloud.api_key) as session:
        for chosen, installed, run in locked_runs([0], index, project, session):
            assert installed == chosen
            assert run.record.metadata["lk_lock"].startswith("pylock.toml sha256:")
            assert "--hash=sha256:" in run.record.python_requirements
        chosen = choose_packages(index, 3)
        name = next(iter(chosen))
        (project / "requirements.txt").write_text(f"{name}=={chosen[name]} --hash=sha256:{'0' * 64}\n")
        with pytest.raises(RunFailed, match=r"(?s)DO NOT MATCH THE HASHES.*lock again: uv lock"):
            session.run(CODE, requirements=["project"]).result()


@pytest.mark.nightly
def test_twenty_locks_are_installed_exactly(make_cloud, index, project):
    cloud = make_cloud()
    with connect(cloud.base_url, cloud.api_key) as session:
        equal = [chosen == installed for chosen, installed, _ in locked_runs(range(20), index, project, session)]
    print(f"installed versions equal the lock in {sum(equal)} of {len(equal)}")
    assert equal == [True] * 20


def test_a_package_beside_a_lock_with_hashes_is_refused(session, index, project):
    chosen = choose_packages(index, 0)
    (project / "pylock.toml").write_text(as_pylock(index, chosen))
    with pytest.raises(UsageError, match=r"'pandas' isn't in '.*pylock.toml'.*Nothing was sent\. .*uv add pandas"):
        session.run(CODE, requirements=["project", "pandas"])


def test_the_setting_chooses_the_lock_for_runs_without_packages(session, project):
    (project / "requirements.txt").write_text("packaging\n")
    save("requirements", "project")
    assert session.run("print(1)").result().stdout == "1\n"
    assert session.run("print(1)").record.python_requirements == "packaging\n"
    assert session.run("print(1)", requirements=["pydantic"]).record.python_requirements == "pydantic\n"
