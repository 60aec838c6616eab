"""The steps of one cell in CONTRIBUTING.md, compared with a trace."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lk_jupyter

GUIDE = Path(__file__).parent.parent / "CONTRIBUTING.md"

#: Runs a cell, and prints the functions that it calls, by first call: file, name with class, in the main thread.
TRACE = """
import json, sys, threading
from IPython.core.interactiveshell import InteractiveShell

root, seen = sys.argv[1], {}

def watch(frame, event, _):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(root):
        owner = type(frame.f_locals["self"]).__name__ + "." if "self" in frame.f_locals else ""
        row = code.co_filename[len(root):].replace("\\\\", "/"), owner + code.co_name
        seen.setdefault(row, threading.current_thread() is threading.main_thread())

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "lk_jupyter")
threading.setprofile(watch)
sys.setprofile(watch)
shell.run_cell("%%lk_run --gpu L40S\\nprint('one cell')")
sys.setprofile(None)
threading.setprofile(None)
print(json.dumps([[*row, is_main] for row, is_main in list(seen.items())]))
"""


def test_the_steps_of_one_cell_are_those_of_a_trace(cloud, tmp_path):
    steps = re.findall(r"^\d+\. `(\S+)` `(\S+)`: ", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    own = {"LK_LOG_DIR": str(tmp_path), "LK_JOURNAL": str(tmp_path / "journal.sqlite"), "IPYTHONDIR": str(tmp_path)}
    env = {**os.environ, **own, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    root = str(Path(lk_jupyter.__file__).parent) + os.sep
    printed = subprocess.check_output([sys.executable, "-c", TRACE, root], env=env, text=True)
    calls = {(file, name): is_main for file, name, is_main in json.loads(printed.splitlines()[-1])}
    assert 10 <= len(steps) <= 15
    assert [step for step in steps if step not in calls] == []
    for in_main in (True, False):  # threads have no order among each other
        assert [call for call in calls if call in steps and calls[call] is in_main] == [
            step for step in steps if calls[step] is in_main
        ]
