"""Code starts before its packages are restored, and each use of a package waits."""

import subprocess
import sys
import textwrap

import pytest

#: The process that restores a package.
RESTORE = """
import os, sys
sys.stdin.readline()
os.makedirs(sys.argv[1] + "/late_one-1.0.dist-info")
with open(sys.argv[1] + "/late_one-1.0.dist-info/METADATA", "w") as file:
    file.write("Metadata-Version: 2.1\\nName: late_one\\nVersion: 1.0\\n")
with open(sys.argv[1] + "/late_one.py", "w") as file:
    file.write("value = 5\\n")
print(sys.argv[2], end="")
"""

#: Prepares a folder with a package that isn't in the search path until it is restored, and a process that restores it.
PREPARE = """
import importlib.metadata, importlib.util, os, subprocess, sys, threading
from lk_jupyter.remote.script.late import LatePackages

folder = sys.argv[1]
events = []

def finish(problem, waited):
    subprocess.run([sys.executable, "-c", "pass"], check=True)  # an installer, which must not wait for itself
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    events.append(problem or "restored")

original = subprocess.Popen.__init__
command = [sys.executable, os.path.dirname(__file__) + "/restore.py", folder, PROBLEM]
process = subprocess.Popen(command, stdin=-1, stdout=-1)
packages = LatePackages(["late_one"], 5_000_000, process, finish)
packages.start()
import json  # no package of the folder: doesn't wait
assert not events
threading.Timer(0.05, process.stdin.close).start()
"""

#: Use → code that uses the package before it is restored.
USES = {
    "import": "import late_one; assert late_one.value == 5",
    "search for a module": "assert importlib.util.find_spec('late_one')",
    "distribution": "assert importlib.metadata.version('late_one') == '1.0'",
    "process": "subprocess.run([sys.executable, '-c', 'import late_one'], check=True)",
    "shell": "assert os.system(sys.executable + ' -c \"import late_one\"') == 0",
    "fork": "pid = os.fork()\nif not pid:\n    import late_one\n    os._exit(0)\nassert os.waitpid(pid, 0)[1] == 0",
    "spawned process": "import multiprocessing\n"
    "with multiprocessing.get_context('spawn').Pool(1) as pool: pool.apply(exec, ('import late_one',))",
    "thread": "thread = threading.Thread(target=__import__, args=('late_one',)); thread.start(); thread.join()",
}


def run_late(tmp_path, use, problem=""):
    end = "assert subprocess.Popen.__init__ is original, 'a guard stays'\nprint(events)"
    inner = textwrap.indent(f"PROBLEM = {problem!r}\n{PREPARE}\n{use}\n{end}", "    ")
    code = f"if __name__ == '__main__':\n{inner}"
    (tmp_path / "restore.py").write_text(RESTORE)
    path = tmp_path / "code.py"
    path.write_text(code)
    command = [sys.executable, str(path), str(tmp_path / "folder")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "use", [use if use in {"import", "process"} else pytest.param(use, marks=pytest.mark.nightly) for use in USES]
)
def test_each_use_of_a_package_waits_until_the_packages_are_complete(tmp_path, use):
    result = run_late(tmp_path, USES[use])
    assert (result.returncode, result.stdout) == (0, "['restored']\n"), result.stderr


def test_the_reason_why_packages_cannot_be_restored_is_known_at_their_first_use(tmp_path):
    result = run_late(tmp_path, USES["import"], "part 2 was changed in the bucket")
    assert result.stdout == "['part 2 was changed in the bucket']\n", result.stderr
