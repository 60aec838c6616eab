"""An output that is not UTF-8, in IPython as a process of its own: no sign that it cannot hold makes a line fail."""

import os
import subprocess
import sys

import pytest

CELLS = (
    "%load_ext lk_jupyter",
    "%%lk_run --gpu A100 --save run\nprint('café 日本 ◌')\nfrom tqdm import trange\nfor i in trange(3): pass",
    "%%lk_run --dry-run\n1",
    "%%lk_run --gpu A100,H100 --sweep x=1,2\nprint(x, '✓')",
    "%%lk_run\nprint('gone')\nraise ValueError('✗ no')",
    "%%lk_run --gpu A1000\n1",
    "%%lk_run\n1 + '→\n",
    "%lk_attach {run.short_id}",
)
MORE = (
    *("%lk_runs", "%lk_status {run.short_id}", "%lk_logs {run.short_id}", "%lk_rerun {run.short_id}"),
    "import os; open('data.bin', 'wb').write(os.urandom(100_000))",
    *("%lk_put data.bin", "%lk_get data.bin back.bin", "%lk_ls", "%lk_rm data.bin --yes"),
    *("%lk_balance", "%lk_machines", "%lk_config", "%lk_run?", "run", "%lk_diff {run.short_id} {run.short_id}"),
    *("%lk_history", "print(len(_))"),
)

WANTED = {
    "ascii": (r"cafe \u65e5\u672c ~", "~ submitting - A100 at 1.59 credits/h - at most 0.2654 credits"),
    "cp1252": (r"café \u65e5\u672c ~", "~ submitting · A100 at 1.59 credits/h · at most 0.2654 credits"),
    "utf-8": ("café 日本 ◌", "◌ submitting · A100 at 1.59 credits/h · at most 0.2654 credits"),
}


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(each, marks=pytest.mark.nightly) for each in list(WANTED)[1:])]
)
def test_each_sign_that_an_output_cannot_hold_is_written_as_a_near_one_or_its_number(encoding, signed_in, tmp_path):
    script = tmp_path / "session.ipy"
    cells = (*CELLS, *(MORE if encoding == "ascii" else ()), "print('the end')")  # what ASCII can't hold is most
    script.write_text("".join(f"get_ipython().run_cell({cell!a}, store_history=True)\n" for cell in cells))
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "IPYTHONDIR": str(tmp_path / "ipython")}
    with (tmp_path / "printed").open("wb") as output:
        command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=nocolor", str(script)]
        subprocess.run(
            command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    text = (tmp_path / "printed").read_bytes().decode(encoding)
    assert "UnicodeEncodeError" not in text
    assert "codec can't encode" not in text
    assert text.rstrip().endswith("the end")
    assert all(words in text for words in WANTED[encoding])
    assert "RunFailed: run " in text
    assert "Usage" in text


@pytest.mark.parametrize(
    "arguments", [["-m", "lk_jupyter.localcloud", "--help"], ["notebooks/on_local_cloud.py", "-h"]]
)
def test_the_help_of_a_command_is_written_in_any_encoding(arguments):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
