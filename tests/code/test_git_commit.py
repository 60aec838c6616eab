"""The git commit of a folder is read without starting git."""

import subprocess

import pytest

from lk_jupyter.code.git_commit import read_commit


def git(folder, *words):
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with a branch, a linked work tree and a folder below."""
    folder = tmp_path_factory.mktemp("repository") / "main"
    (folder / "notebooks" / "deep").mkdir(parents=True)
    git(folder, "init", "--initial-branch", "feature/x.1")
    assert read_commit(folder) == ""  # no commit so far
    git(folder, "commit", "--allow-empty", "-m", "first")
    git(folder, "worktree", "add", "-b", "linked", "../linked")
    git(folder.parent / "linked", "commit", "--allow-empty", "-m", "second")
    return folder


def test_the_commit_is_the_one_that_git_reports_on_a_branch_in_a_folder_below_and_in_a_linked_work_tree(repository):
    first, second = (git(folder, "rev-parse", "HEAD") for folder in (repository, repository.parent / "linked"))
    assert first != second
    assert read_commit(repository / "notebooks" / "deep") == first
    assert read_commit(repository.parent / "linked") == second
    git(repository, "pack-refs", "--all")
    assert [read_commit(repository), read_commit(repository.parent / "linked")] == [first, second]
    git(repository, "checkout", "--detach")
    assert read_commit(repository) == first


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/missing", "ref: refs/../../../etc/passwd", "f" * 39, "x" * 40, "\0", "ref: ../x"]
)
def test_a_damaged_or_hostile_head_gives_no_commit(tmp_path, head):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert read_commit(tmp_path) == ""


def test_a_repository_whose_configuration_executes_commands_executes_none(repository, monkeypatch):
    git(repository, "config", "core.fsmonitor", "touch executed; false")
    monkeypatch.chdir(repository)
    assert read_commit(repository)
    assert not list(repository.parent.rglob("executed"))


def test_a_link_to_a_repository_that_is_missing_gives_no_commit(tmp_path):
    (tmp_path / ".git").write_text("gitdir: /nowhere/at/all")
    assert read_commit(tmp_path) == ""
    (tmp_path / ".git").write_bytes(b"\xff\xfe")
    assert read_commit(tmp_path) == ""
