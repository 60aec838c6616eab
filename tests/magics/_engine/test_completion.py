import socket
import time
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.config import settings
from lk_jupyter.magics._engine import completion


@pytest.fixture
def complete(shell, monkeypatch):
    """Complete a cell with the cursor at ``▮``; give what the cell would become for each choice, however late."""
    monkeypatch.setattr(completion, "PATIENCE", PATIENCE)

    def choices(cell):
        offset, text = cell.index("▮"), cell.replace("▮", "")
        with provisionalcompleter():
            found = list(shell.Completer.completions(text, offset))
        return [text[: one.start] + one.text + text[one.end :] for one in found]

    return choices


def test_options_are_completed_in_the_first_line_of_a_cell(complete):
    assert complete("%%lk_run --g▮\nimport torch\nprint(1)") == ["%%lk_run --gpu\nimport torch\nprint(1)"]


def test_all_options_are_offered_after_two_dashes(complete):
    choices = complete("%lk_login --▮")
    assert choices == [f"%lk_login --{name}" for name in ("local", "browser", "email", "base-url")]


def test_the_name_of_a_magic_is_completed_by_ipython(complete):
    assert "%lk_login" in complete("%lk_logi▮")


def test_variables_of_the_user_are_completed_one_after_the_other(complete, shell):
    shell.user_ns.update(frame=1, größe=2)
    assert complete("%%lk_run --in fra▮\npass") == ["%%lk_run --in frame\npass"]
    assert complete("%%lk_run --out frame,grö▮\npass") == ["%%lk_run --out frame,größe\npass"]


def test_verbs_are_completed_and_then_their_options(complete):
    assert complete("%lk_secrets s▮") == ["%lk_secrets set"]
    assert complete("%lk_secrets set --f▮") == ["%lk_secrets set --from-env"]


@pytest.mark.usefixtures("signed_in")
def test_cards_are_completed_in_any_case(complete):
    assert complete("%%lk_run --gpu a1▮\nprint(1)") == ["%%lk_run --gpu A100\nprint(1)"]


@pytest.mark.usefixtures("signed_in")
def test_the_second_choice_of_a_card_is_completed_too(complete):
    assert set(complete("%%lk_run --gpu A100|h▮")) == {"%%lk_run --gpu A100|H100", "%%lk_run --gpu A100|H200"}


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("start", ["--gpu=", '--gpu "', "--label a b --gpu ", "--quiet --gpu "])
def test_a_value_is_completed_however_it_is_given(complete, start):
    assert complete(f"%%lk_run {start}L▮") == [f"%%lk_run {start}L40S"]


@pytest.mark.usefixtures("signed_in")
def test_profiles_are_completed_for_machine(complete):
    assert "%%lk_run --quiet --machine gpu.h100" in complete("%%lk_run --quiet --machine gpu.h1▮")


def test_run_ids_are_completed(complete, signed_in):
    with lk_jupyter.connect() as session:
        run = session.run("print(1)", gpu="A100")
        run.wait()
    assert complete(f"%lk_logs {run.execution_id[:6]}▮") == [f"%lk_logs {run.execution_id}"]
    assert f"%lk_attach --quiet {run.execution_id}" in complete("%lk_attach --quiet ▮")


def test_settings_are_completed(complete):
    assert complete("%lk_config mach▮") == ["%lk_config machine"]


def test_the_value_of_a_setting_is_not_completed_from_the_settings(complete):
    assert not any("machine machine" in choice for choice in complete("%lk_config machine mach▮"))


def test_the_older_way_of_completing_works_too(shell):
    with pytest.warns(PendingDeprecationWarning, match="Completer.complete"):
        assert shell.complete(None, "%%lk_run --det", 14) == ("--det", ["--detach"])


def test_files_are_left_to_ipython(complete, home, monkeypatch):
    monkeypatch.chdir(home)
    Path("needs.txt").write_text("")
    assert complete("%%lk_run -r nee▮") == ["%%lk_run -r needs.txt"]


@pytest.mark.parametrize("cell", ["%%lk_run --gpu ▮", "%lk_logs ▮", "%%lk_run --label ▮", "%lk_login --local ▮"])
def test_without_a_key_nothing_of_ours_is_offered_and_nothing_is_said(complete, capsys, cell):
    complete(cell)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_python_is_left_alone(complete, shell):
    shell.Completer.use_jedi = False  # it would first read all of Python's own library
    assert not any("--gpu" in choice for choice in complete("lk_run --g▮"))


def test_completing_never_starts_the_local_cloud(complete, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", "local")
    complete("%%lk_run --gpu ▮")
    assert not settings.setting("local_data").exists()


def test_a_server_that_does_not_answer_is_not_waited_for(complete, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("LK_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("LK_API_KEY", "lk_any")
        monkeypatch.setattr(completion, "PATIENCE", 0.1)
        started = time.monotonic()
        assert complete("%%lk_run --gpu A1▮") == []
        assert time.monotonic() - started < 15
