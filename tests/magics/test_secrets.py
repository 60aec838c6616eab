from unittest.mock import Mock

import pytest

from lk_jupyter.magics._engine.completion import complete

SECRET = "hf_SentinelSentinelSentinelSentinel42"


@pytest.fixture(autouse=True)
def without_secrets(signed_in):
    signed_in.client.environment_variables.delete_all()
    yield
    signed_in.client.environment_variables.delete_all()


def _names(cloud):
    return [each.name for each in cloud.client.environment_variables.list()]


def test_a_secret_is_asked_for_without_echo_and_found_by_a_run(run_cell, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: SECRET)
    assert "Stored HF_TOKEN." in run_cell("%lk_secrets set HF_TOKEN")
    shown = run_cell("%%lk_run\nimport os\nprint(f\"{len(os.environ['HF_TOKEN'])} characters\")")
    assert f"{len(SECRET)} characters" in shown
    assert SECRET not in run_cell("%lk_secrets") + run_cell("%lk_secrets list")
    assert "HF_TOKEN" in run_cell("%lk_secrets")


def test_a_secret_comes_from_the_environment(run_cell, signed_in, monkeypatch):
    monkeypatch.setenv("MINE", SECRET)
    assert SECRET not in run_cell("%lk_secrets set THEIRS --from-env MINE")
    assert _names(signed_in) == ["THEIRS"]
    assert "'GONE' isn't set in this kernel's environment." in run_cell("%lk_secrets set A --from-env GONE")


@pytest.mark.parametrize("line", [f"HF_TOKEN={SECRET}", f"HF_TOKEN {SECRET}", f"HF_TOKEN 'a b' {SECRET}"])
def test_a_value_on_the_line_is_refused_and_not_told_again(run_cell, signed_in, line):
    shown = run_cell(f"%lk_secrets set {line}")
    assert shown.startswith("UsageError: %lk_secrets set HF_TOKEN: the value must not be on the line")
    assert len(shown.splitlines()) == 1
    assert SECRET not in shown
    assert _names(signed_in) == []


def test_a_value_in_a_cell_is_refused(run_cell, signed_in):
    shown = run_cell(f"%%lk_secrets set HF_TOKEN\n{SECRET}")
    assert shown.startswith("UsageError: Cell magic `%%lk_secrets` not found")
    assert SECRET not in shown
    assert _names(signed_in) == []


def test_where_nobody_can_be_asked_it_says_what_to_do(run_cell, monkeypatch):
    monkeypatch.setattr("getpass.getpass", Mock(side_effect=EOFError))
    assert "give --from-env: %lk_secrets set A --from-env VARIABLE" in run_cell("%lk_secrets set A")


def test_a_name_that_cannot_be_is_refused(run_cell):
    assert "'2-A' isn't a variable name" in run_cell("%lk_secrets set 2-A")


def test_delete_asks_and_takes_what_is_named(run_cell, signed_in, monkeypatch):
    for name in ("A", "B", "C"):
        monkeypatch.setenv(name, SECRET)
        run_cell(f"%lk_secrets set {name} --from-env {name}")
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert "Nothing was deleted." in run_cell("%lk_secrets delete A")
    assert "Unknown secret 'a'. Did you mean A?" not in run_cell("%lk_secrets delete B --yes")
    assert _names(signed_in) == ["A", "C"]
    assert "Deleted A, C." in run_cell("%lk_secrets delete --all -y")
    assert _names(signed_in) == []
    assert "Unknown secret 'A'. Names: %lk_secrets list" in run_cell("%lk_secrets delete A")


def test_names_are_completed(shell, run_cell, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    run_cell("%lk_secrets set HF_TOKEN --from-env HF_TOKEN")
    assert complete("lk_secrets", "delete hf") == ("hf", ["HF_TOKEN"])
