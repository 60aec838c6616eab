"""Read-only mode in a notebook: the setting, each magic that changes something, and what still works."""

import pytest

from lk_jupyter.session import current

REFUSED = "ReadOnlyMode: Read-only mode is on. Nothing was sent. Switch it off: %lk_config read_only off"

#: Lines that spend, write or delete. Each would succeed otherwise, or fail for a reason of the server.
CHANGES = (
    "%%lk_run --gpu A100\nprint(1)",
    "%%lk_run --gpu A100 --sweep lr=1,2\nprint(lr)",
    "%%lk_run --session warm --gpu A100\nx = 1",
    "%%lk_docker python:3.11 --gpu A100\npython -c 'print(1)'",
    "%lk_notebook start --gpu A100",
    "%lk_vm create --gpu A100 --yes",
    "%lk_deploy local/echo --gpu A100 --yes",
    "%%lk_chat local/echo\nhello",
    "%lk_put notes.txt",
    "%lk_rm notes.txt --yes",
    "%lk_bucket put notes.txt",
    "%lk_bucket delete notes.txt --yes",
    "%lk_keys create ci",
    "%lk_org create 'Our team' --slug read-only-team",
    "%lk_billing checkout 20",
)


@pytest.fixture
def read_only(run_cell, signed_in, home, monkeypatch):
    monkeypatch.chdir(home)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA mira")
    (home / "notes.txt").write_text("notes")
    run_cell("%lk_put notes.txt")
    assert "Read-only mode: on or off" in run_cell("%lk_config read_only on")
    yield
    assert "off" in run_cell("%lk_config read_only off")
    run_cell("%lk_rm notes.txt --yes")


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("cell", CHANGES)
def test_a_magic_that_changes_something_is_refused_in_one_line(run_cell, cell):
    shown = run_cell(cell)
    assert REFUSED in shown
    assert list(current().client.workloads.list()) == []


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("line", ["%lk_whoami", "%lk_balance", "%lk_runs", "%lk_ls", "%lk_machines", "%lk_keys list"])
def test_a_magic_that_reads_works_in_read_only_mode(run_cell, line):
    assert "Error" not in run_cell(line)


def test_a_key_signs_in_in_read_only_mode(run_cell, local_data):
    run_cell("%lk_config read_only on")
    assert "Error" not in run_cell("%lk_login --local")
    assert "Read-only" not in run_cell("%lk_whoami")
