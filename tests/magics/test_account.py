import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from magics.kernels import running_kernel
from patience import PATIENCE

from lk_jupyter import session
from lk_jupyter.account.active import ActiveResource
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.api._client import Client
from lk_jupyter.api.auth import LoginRequest
from lk_jupyter.config import settings
from lk_jupyter.views.credits import balance


def test_login_local_says_where_and_who(run_cell, local_data):
    shown = run_cell("%lk_login --local")
    assert shown.startswith(
        f"Signed in to {local_data.base_url}; the key is stored in its data folder {local_data.data}."
    )
    assert "local@localhost" in shown
    assert "Local user" in shown


def test_the_first_run_of_the_readme_works_without_an_account(run_cell, local_data):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python\n(.*?)^```", readme.partition("## Your first run")[2], re.MULTILINE | re.DOTALL)
    shown = [run_cell(cell) for cell in cells[:3]]
    assert "Hello from a run" in shown[1]
    assert shown[2].endswith("499999500000\n")


def test_login_asks_for_the_key_and_says_where_it_is_kept(run_cell, cloud, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: cloud.api_key)
    shown = run_cell(f"%lk_login --base-url {cloud.base_url}")
    assert f"the key is stored in the file {settings.config_file()}." in shown
    assert "local@localhost" in shown


def test_a_key_on_the_line_is_refused(run_cell):
    assert "takes no 'lk_key'" in run_cell("%lk_login lk_key")


def test_whoami_tells_where_each_thing_is_set(run_cell, local_data):
    run_cell("%lk_login --local")
    lines = run_cell("%lk_whoami").splitlines()
    assert lines[0].split() == ["What", "Value", "From"]
    assert any(line.split() == ["Server", local_data.base_url, "config", "file"] for line in lines)
    assert any(line.split() == ["Key", "hidden", "local", "cloud"] for line in lines)


def test_balance_tells_the_credits_that_are_left(run_cell, cloud, home, monkeypatch):
    user = LoginRequest(email="balance@example.com", password="correct horse")
    cloud.add_user(user.email, user.password)  # other tests start and leave things as the user of the shared cloud
    with Client(cloud.base_url) as client:
        monkeypatch.setenv("LK_API_KEY", client.auth.login(user).access_token)
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    shown = run_cell("%lk_balance")
    assert re.search(r"^Left +\d+\.\d\d credits$", shown, re.MULTILINE)
    assert "Running now  nothing" in shown


def test_balance_tells_how_long_the_credits_last():
    things = tuple(ActiveResource(kind, kind, "", "A100", Decimal("1.79")) for kind in ("run", "VM"))
    shown = balance(AccountBalance(Decimal("3.58"), things)).text
    assert "1 run, 1 VM, 3.58 credits/h" in shown
    assert "Lasts        1 h 00 min, until" in shown
    unknown = ActiveResource("run", "x", "", "secret", None)
    shown = balance(AccountBalance(Decimal("3.58"), (*things, unknown))).text
    assert "2 runs, 1 VM, at least 3.58 credits/h" in shown
    assert "at the latest" in shown
    assert "1 run, price unknown" in balance(AccountBalance(Decimal("3.58"), (unknown,))).text


def test_config_lists_every_setting_and_hides_the_key(run_cell, monkeypatch):
    monkeypatch.setenv("LK_API_KEY", "lk_sentinel")
    shown = run_cell("%lk_config")
    assert all(row.name in shown and row.help in shown for row in settings.SETTINGS)
    assert "lk_sentinel" not in shown
    assert any(line.split()[:3] == ["api_key", "hidden", "LK_API_KEY"] for line in shown.splitlines())


def test_config_saves_a_value_and_shows_it(run_cell):
    assert any(
        line.split()[:3] == ["machine", "gpu.a100", "config"]
        for line in run_cell("%lk_config machine gpu.a100").splitlines()
    )
    assert settings.setting("machine") == "gpu.a100"
    assert "default" in run_cell("%lk_config machine --unset")
    assert settings.setting("machine") is None


def test_config_says_when_a_variable_is_used_in_its_place(run_cell, monkeypatch):
    monkeypatch.setenv("LK_MACHINE", "cpu")
    assert "Stored, but LK_MACHINE in the environment overrides it." in run_cell("%lk_config machine gpu.a100")


def test_config_shows_what_does_not_fit_beside_the_rest(run_cell, monkeypatch):
    monkeypatch.setenv("LK_TIMEOUT", "soon")
    shown = run_cell("%lk_config")
    assert "timeout (from LK_TIMEOUT) takes whole seconds" in shown
    assert "max_timeout" in shown


def test_config_takes_a_value_or_unset(run_cell):
    assert "give a value or --unset, not both" in run_cell("%lk_config machine cpu --unset")


def test_logout_says_what_still_signs_in(run_cell, local_data, monkeypatch):
    monkeypatch.setenv("LK_API_KEY", "lk_left")
    run_cell("%lk_login --local")
    shown = run_cell("%lk_logout")
    assert "Signed out of the local cloud" in shown
    assert "through LK_API_KEY" in shown


def test_a_slip_is_one_line_without_a_traceback(run_cell):
    assert run_cell("%lk_whoami --verbose") == (
        "UsageError: %lk_whoami has no option '--verbose'. All options: %lk_whoami?\n"
    )


def test_our_objects_are_shown_as_tables(shell, local_data):
    shell.run_cell("%lk_login --local")
    bundle, _ = shell.display_formatter.format(session.current().whoami())
    assert "<table" in bundle["text/html"]
    assert "local@localhost" in bundle["text/plain"]


def test_unloading_takes_the_magics_away(run_cell, shell):
    run_cell("%reload_ext lk_jupyter")
    run_cell("%unload_ext lk_jupyter")
    assert "not found" in run_cell("%lk_whoami")
    assert not shell.Completer.custom_matchers


def test_loading_is_light(home):
    script = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'lk_jupyter')\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    loaded = set(done.stdout.split())
    assert loaded - set(sys.stdlib_module_names) <= {"IPython", "lk_jupyter", "platformdirs"}
    assert not loaded & {"asyncio", "decimal", "http", "json", "sqlite3", "ssl", "urllib"}


class Kernel:
    """A real kernel, with everything that it ever sent."""

    def __init__(self, client):
        self.client = client
        self.messages = []

    def run(self, code, typed=None):
        self.client.allow_stdin = True
        self.reply = self.client.execute_interactive(
            code,
            allow_stdin=True,
            stop_on_error=True,
            output_hook=self.messages.append,
            stdin_hook=lambda request: (self.messages.append(request), self.client.input(typed)),
            timeout=PATIENCE,
        )
        return self.reply["content"]


@pytest.fixture
def kernel(home):
    with running_kernel({**os.environ, "IPYTHONDIR": str(home / "ipython")}, home) as (_, client):
        kernel = Kernel(client)
        kernel.run("%load_ext lk_jupyter")
        yield kernel


#: Whatever a reader may do after signing in that could show the key.
NOSY = (
    "%lk_whoami",
    "%lk_config",
    "from lk_jupyter import session; session.current(), session.current().target, vars(session.current())",
    "from lk_jupyter.config import settings; settings.credential()",
    "In, _ih, Out",
    "%history",
)


def test_the_key_is_asked_for_without_echo_and_shows_up_nowhere(kernel, cloud):
    assert kernel.run(f"%lk_login --base-url {cloud.base_url}", typed=cloud.api_key)["status"] == "ok"
    for code in NOSY:
        assert kernel.run(code)["status"] == "ok"
    requests = [message["content"] for message in kernel.messages if message["msg_type"] == "input_request"]
    assert [request["password"] for request in requests] == [True]
    assert cloud.api_key not in repr(kernel.messages)


def test_no_traceback_shows_the_key_however_long_it_is(kernel, cloud):
    kernel.run("%xmode Verbose")
    reply = kernel.run("%lk_login --base-url http://127.0.0.1:9", typed=cloud.api_key)
    assert reply["ename"] == "ConnectionFailed"
    kernel.run("%tb")
    assert cloud.api_key not in repr(kernel.messages) + repr(reply)


def test_an_error_reaches_the_front_end_as_one_line_with_the_page_about_it_and_stops_run_all(kernel):
    reply = kernel.run("%lk_whoami")
    assert (reply["status"], reply["ename"]) == ("error", "NotSignedIn")
    assert reply["evalue"].startswith("Not signed in to https://api.lyceum.technology.")
    assert reply["traceback"] == [f"NotSignedIn: {reply['evalue']}", "More: %lk_help NotSignedIn"]


def test_a_switch_is_shown_as_it_is_set(run_cell):
    assert re.search(r"^hints +on +default", run_cell("%lk_config hints"), re.MULTILINE)
    assert re.search(r"^hints +off +config file", run_cell("%lk_config hints off"), re.MULTILINE)
