"""Scripts, ``.ipy`` files and IPython in a terminal, as processes of their own: in odd homes, folders and outputs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from patience import PATIENCE

LINES = [f"line {number} of the run" for number in range(60)]
PRINTS = "for number in range(60): print('line', number, 'of the run')"

SCRIPT = f"""
import lk_jupyter
with lk_jupyter.connect() as session:
    print(session.run({PRINTS!r}, machine="cpu").result().stdout, end="")
    with lk_jupyter.Executor(machine="cpu", session=session) as executor:
        print(list(executor.map(abs, [-3, 4])))
print("the end")
"""
IPY = f"""
%load_ext lk_jupyter
get_ipython().run_cell_magic("lk_run", "--save run --out kept", {(PRINTS + "; kept = number + 1")!r})
print("kept", kept)
import lk_jupyter
with lk_jupyter.Executor(machine="cpu") as executor:
    print(list(executor.map(abs, [-3, 4])))
%lk_logs {{run.short_id}}
print("the end")
"""
FAILS = """
%load_ext lk_jupyter
get_ipython().run_cell_magic("lk_run", "", "print('before')\\nx = 1 / 0")
print("not reached")
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class User:
    """Starts programs as a user who is signed in to a cloud, in a folder and with a home of their own."""

    def __init__(self, cloud, folder):
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        kept = {name: to for name, to in os.environ.items() if not name.startswith(("LK_", "LYCEUM_", "XDG_"))}
        self.env = {**kept, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "HOME": str(self.home)}

    def command(self, name, text):
        """Return what starts a script or an ``.ipy`` file with this text."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return [sys.executable, *(("-m", "IPython", "--no-banner") if path.suffix == ".ipy" else ()), str(path)]

    def run(self, command, *, cwd=None, **env):
        """Run a command, whose rights are those of a user; return its exit code and what it printed, as bytes."""
        as_user = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
        variables = {name: to for name, to in {**self.env, **env}.items() if to is not None}
        done = subprocess.run(
            [*as_user, *command],
            cwd=cwd or self.folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert b"\x1b" not in done.stdout + done.stderr
        return done


@pytest.fixture
def user(cloud, tmp_path):
    return User(cloud, tmp_path)


@pytest.fixture
def locked(tmp_path):
    """A folder that nobody can write to."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    return folder


def complete(done, encoding="utf-8"):
    """Whether a program ended well and printed all lines of its run and nothing of a failure."""
    shown = done.stdout.decode(encoding)
    said = done.stderr.decode(encoding)
    assert "Traceback" not in shown + said
    assert done.returncode == 0, shown + said
    assert shown.rstrip().endswith("the end")
    return set(LINES) <= set(shown.splitlines()) and "[3, 4]" in shown


def no_home(user):
    """Without the variable, the home is that of the account, which the tests leave alone."""
    folders = {f"XDG_{kind}_HOME": str(user.home / kind) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {"HOME": None, "IPYTHONDIR": str(user.home / "ipython"), **folders}


HOMES = {
    "of a space and letters beyond ASCII": lambda user, _: {"HOME": str(user.folder / "Zoë Müller 日本")},
    "missing in a read-only folder": lambda _, locked: {"HOME": str(locked / "missing")},
    "missing": lambda user, _: {"HOME": str(user.folder / "missing")},
    "read-only": lambda _, locked: {"HOME": str(locked)},
    "a file": lambda user, _: {"HOME": str(user.folder / "session.ipy")},
}


#: Each home has an output of an encoding, so that one process shows both. In the others a log is kept as in the first.
ENCODINGS = ["ascii", "utf-16", "utf-8", "latin-1", "utf-8"]
PLACES = [
    pytest.param(*row, marks=[pytest.mark.nightly] * (n > 0))
    for n, row in enumerate(zip(HOMES, ENCODINGS, strict=True))
]


@pytest.mark.parametrize(("home", "encoding"), PLACES)
def test_a_log_is_complete_whatever_the_home_and_the_encoding_of_the_output(user, locked, home, encoding):
    command = user.command("session.ipy", IPY)
    if "space" in home:
        (user.folder / "Zoë Müller 日本").mkdir()
    done = user.run(command, PYTHONIOENCODING=encoding, **HOMES[home](user, locked))
    assert complete(done, encoding)
    assert "kept 60" in done.stdout.decode(encoding)
    temporary = re.findall(r"They are in (\S+) until this process ends.*LK_LOG_DIR", done.stderr.decode(encoding))
    assert len(temporary) == (home in {"read-only", "missing in a read-only folder", "a file"})
    assert not any(map(os.path.exists, temporary))


STORES = """
%load_ext lk_jupyter
for magic, line in (("lk_config", "timeout 90"), ("lk_login", "--local")):
    try:
        get_ipython().run_line_magic(magic, line)
    except LkError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.nightly
def test_what_a_read_only_home_cannot_keep_is_refused_in_words(user, locked):
    done = user.run(user.command("session.ipy", f"from lk_jupyter.errors import LkError{STORES}"), HOME=str(locked))
    assert done.returncode == 0, done.stdout
    setting, login = done.stdout.decode().splitlines()
    assert setting.startswith(f"UsageError Can't write '{locked}")
    assert setting.endswith("such as LK_BASE_URL or LK_API_KEY.")
    assert login.startswith(f"LocalCloudError Can't create the folder '{locked}")
    assert "Set LK_LOCAL_DATA" in login


@pytest.mark.nightly
def test_a_script_needs_no_folder_that_it_can_write_to(user, locked):
    command = user.command("script.py", SCRIPT)
    assert complete(user.run(command, cwd=locked, HOME=str(locked)))


@pytest.mark.nightly
def test_a_closed_stdin_and_a_home_that_is_not_set_are_no_trouble(user):
    command = user.command("session.ipy", IPY)
    done = user.run(["sh", "-c", 'exec "$@" <&-', "sh", *command], **no_home(user))
    assert complete(done)
    assert b"kept 60" in done.stdout
    assert b"LK_LOG_DIR" not in done.stderr


@pytest.mark.nightly
def test_a_script_with_a_closed_stdin_and_stdout_ends_well(user):
    command = user.command("script.py", SCRIPT + "open('done', 'w').close()")
    done = user.run(["sh", "-c", 'exec "$@" <&- >&-', "sh", *command])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (user.folder / "done").exists()


@pytest.mark.nightly  # a script: below
def test_a_failed_run_ends_an_ipy_file_with_the_traceback_of_its_code_alone(user):
    done = user.run(user.command("session.ipy", FAILS))
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert shown.count("Traceback (most recent call last)") == 1
    assert "before\n" in shown
    assert "ZeroDivisionError" in shown
    assert "RunFailed: run " in shown
    assert "not reached" not in shown
    assert str(Path("lk_jupyter", "magics")) not in shown


def test_a_failed_run_ends_a_script_with_its_words(user):
    script = "import lk_jupyter\nlk_jupyter.connect().run('1 / 0', machine='cpu').result()\n"
    done = user.run(user.command("script.py", script))
    assert done.returncode == 1
    assert b"RunFailed: run " in done.stderr
    assert b"ZeroDivisionError: division by zero" in done.stderr


def prompt(number):
    colors = r"(?:\x1b\[[0-9;]*m)*"
    return colors.join(["In ", r"\[", str(number), r"\]", ": "])


def test_ipython_in_a_terminal_shows_each_line_and_the_receipt(user):
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--no-banner", "--no-confirm-exit"],
        cwd=user.folder,
        env={**user.env, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        encoding="utf-8",
        timeout=PATIENCE,
        dimensions=(40, 120),
    )
    try:
        typed = ("%load_ext lk_jupyter\r", f"%%lk_run\r{PRINTS}\r\r\r")
        for number, keys in enumerate(typed, 1):
            terminal.expect(prompt(number))
            terminal.send(keys)
        terminal.expect(prompt(3))
        shown = ESCAPE.sub("", terminal.before)
        terminal.send("exit\r")
        terminal.expect(pexpect.EOF)
        terminal.wait()
    finally:
        terminal.close(force=True)
    assert set(LINES) <= {line.rstrip() for line in shown.splitlines()}
    assert "completed" in shown
    assert "Traceback" not in shown
    assert terminal.exitstatus == 0
