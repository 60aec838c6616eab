"""Files that only their owner can read."""

from __future__ import annotations

import os
import subprocess
import sys

from lk_jupyter.config.files import write_private


def test_a_private_file_is_utf8_with_its_line_ends_in_each_locale(tmp_path):
    program = "import pathlib, sys; from lk_jupyter.config.files import write_private as write\n"
    program += r"write(pathlib.Path(sys.argv[1]), '10 %\r\u2588\r\n')"
    variables = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "log")], env=variables, check=True)
    assert (tmp_path / "log").read_bytes() == "10 %\r\u2588\r\n".encode()


def test_a_private_file_is_replaced_completely_and_only_its_owner_reads_it(tmp_path):
    for text in ("first and longer", "second"):
        write_private(tmp_path / "key", text)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_text("utf-8") == "second"
    assert os.name == "nt" or (tmp_path / "key").stat().st_mode & 0o777 == 0o600
