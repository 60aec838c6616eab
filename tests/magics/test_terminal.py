"""``%%lk_run`` in IPython in a terminal, where no output can be changed once it is printed."""

from lk_jupyter.magics._output.unfinished_runs import StateCheck


def test_the_log_is_printed_and_the_end_is_said_once(signed_in, run_cell):
    shown = run_cell("%%lk_run --gpu A100\nprint('from the run')")
    assert "submitting · A100 at 1.59 credits/h" in shown
    assert "\nfrom the run\n" in shown
    assert shown.count("completed") == 1
    assert " credits · run " in shown


def test_a_failed_run_shows_its_traceback_and_no_markup(signed_in, run_cell):
    shown = run_cell("%%lk_run\nx = 1\nx / 0")
    assert "cell.py:3" in shown
    assert shown.count("Traceback (most recent call last)") == 1
    assert "RunFailed: run " in shown
    assert "<div" not in shown


def test_a_shell_without_colours_shows_a_traceback_without_them(signed_in, shell, run_cell, monkeypatch):
    code = "%%lk_run\n1 / 0"
    assert "\x1b[" not in run_cell(code)
    shell.colors = "linux"
    assert "\x1b[" in run_cell(code)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run_cell(code)


def test_a_note_on_runs_that_go_on_prints_nothing_when_it_cannot_be_renewed(signed_in, capfd):
    check = StateCheck([None], None)
    check.start()
    check.join()
    assert "".join(capfd.readouterr()) == ""


def test_outputs_and_bars_are_printed_as_text(signed_in, run_cell):
    code = (
        "h = display({'x': 1}, display_id=True)\nh.update('new')\nfrom tqdm import trange\n"
        "for i in trange(3, desc='steps'): pass\nprint('after')"
    )
    shown = run_cell(f"%%lk_run\n{code}")
    assert "{'x': 1}\n" in shown
    assert "steps: 100%|" in shown
    assert "\nafter\n" in shown
    assert "progressbar" not in shown
    assert "\x1b]7411" not in shown
