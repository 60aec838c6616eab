import _thread
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from functools import partial

import httpx
import pytest
from patience import PATIENCE

import lk_jupyter
from lk_jupyter import session
from lk_jupyter.account import browser_login, login
from lk_jupyter.api._client import Client
from lk_jupyter.api.auth import LoginRequest
from lk_jupyter.code.source import Source
from lk_jupyter.config import settings
from lk_jupyter.connection import connection, signin
from lk_jupyter.errors import Forbidden, LocalCloudError, NotSignedIn, Unauthorized, UsageError
from lk_jupyter.journal import journal
from lk_jupyter.localcloud import launch
from lk_jupyter.options.calls import CALLS
from lk_jupyter.options.runs import RunOptions, extras
from lk_jupyter.runs.notebooks.machine_packages import requirements_text
from lk_jupyter.runs.notebooks.session_machine import prepare_warm_python
from lk_jupyter.runs.package.prepare import prepare_cell
from lk_jupyter.runs.package.secret_scan import require_consent

pytestmark = pytest.mark.usefixtures("home")


def click(url):
    httpx.post(url, follow_redirects=True).raise_for_status()


# Connecting


def test_a_session_says_who_it_is_and_why(signed_in):
    with lk_jupyter.connect() as connected:
        me = connected.whoami()
    assert me.account == "local@localhost"
    assert me.organization == "Local user"
    assert me.organization_source == "your default organization"
    assert (me.server, me.server_source) == (signed_in.base_url, "LK_BASE_URL")
    assert me.key_source == "LK_API_KEY"


def test_arguments_go_before_settings(cloud, monkeypatch):
    monkeypatch.setenv("LK_API_KEY", "lk_unused")
    with lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key, org="local") as connected:
        me = connected.whoami()
    assert (me.server_source, me.key_source, me.organization_source) == ("argument",) * 3


@pytest.mark.usefixtures("signed_in")
def test_a_foreign_organization_is_refused_by_the_server():
    with lk_jupyter.connect(org="strangers") as connected, pytest.raises(Forbidden, match="strangers"):
        connected.whoami()


def test_with_nothing_set_both_ways_in_are_offered():
    with pytest.raises(NotSignedIn, match=r"%lk_login --local .* %lk_login .*LK_API_KEY"):
        lk_jupyter.connect()


def test_a_key_of_the_wrong_shape_is_refused_before_anything_is_sent():
    with pytest.raises(UsageError, match="An API key looks like lk_") as caught:
        lk_jupyter.connect(api_key="my secret")
    assert "my secret" not in str(caught.value)


def test_a_wrong_key_is_told_with_the_way_to_sign_in(cloud):
    with lk_jupyter.connect(cloud.base_url, api_key="lk_wrong") as connected, pytest.raises(Unauthorized) as caught:
        connected.whoami()
    assert "%lk_login" in str(caught.value)


def test_a_repr_names_the_server_and_hides_the_key(signed_in):
    connected = lk_jupyter.connect()
    assert signed_in.base_url in repr(connected)
    assert signed_in.api_key not in repr(connected) + repr(connected.target) + repr(vars(connected))


@pytest.mark.usefixtures("signed_in")
def test_machines_are_asked_for_once_a_minute(monkeypatch):
    with lk_jupyter.connect() as connected:
        first = connected.machines()
        assert connected.machines() is first
        assert first.resolve("A100").price_per_hour > 0
        monkeypatch.setattr(connection, "CATALOGUE_SECONDS", 0)
        assert connected.machines() is not first


def test_the_balance_tells_what_is_left(cloud, home, monkeypatch):
    user = LoginRequest(email="left@example.com", password="correct horse")
    cloud.add_user(user.email, user.password)  # other tests start and leave things as the user of the shared cloud
    with Client(cloud.base_url) as client:
        key = client.auth.login(user).access_token
    with lk_jupyter.connect(cloud.base_url, key) as connected:
        left = connected.balance()
    assert 0 < left.credits <= 1000
    assert left.depleted_at is None


def test_the_balance_tells_when_the_credits_end_at_what_runs_now(make_cloud):
    cloud = make_cloud()
    with lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key) as connected:
        run = connected.run("import time; print('on', flush=True); time.sleep(60)", gpu="A100")
        next(iter(run.follow()))
        left = connected.balance()
        run.abort()
    assert (left.active_count, left.per_hour) == (1, connected.machines().resolve("A100").price_per_hour)
    hours = (left.depleted_at - datetime.now(left.depleted_at.tzinfo)).total_seconds() / 3600
    assert hours == pytest.approx(float(left.credits / left.per_hour), rel=0.01)


@pytest.mark.usefixtures("signed_in")
def test_a_plain_script_needs_no_ipython():
    script = (
        "import sys, lk_jupyter\n"
        "with lk_jupyter.connect() as session: print(session.whoami().account)\n"
        "assert 'IPython' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "local@localhost\n"


# The local cloud


def test_the_word_local_finds_the_local_cloud_of_this_user(local_data, capsys):
    with lk_jupyter.connect("local") as connected:
        assert connected.base_url == local_data.base_url
        assert connected.is_local
        assert connected.whoami().key_source == "local cloud"
    assert capsys.readouterr().out == ""


def test_the_word_local_starts_it_with_gpu_figures_when_it_does_not_run_and_says_so(capsys):
    try:
        with lk_jupyter.connect("local") as connected:
            assert connected.whoami().account == "local@localhost"
            assert capsys.readouterr().out.startswith(f"Started the local cloud at {connected.base_url}")
            note = connected.run("1", gpu="A100").note
            assert note is None or "Its GPU figures are simulated." in note  # none where there is a GPU
    finally:
        assert launch.stop(settings.setting("local_data"))


def test_a_key_of_another_server_is_not_sent_to_the_local_cloud(local_data, monkeypatch):
    monkeypatch.setenv("LK_API_KEY", "lk_of_the_real_cloud")
    with lk_jupyter.connect("local") as connected:
        assert connected.target.key.token == local_data.api_key


def test_without_its_extra_the_local_cloud_says_what_to_install(monkeypatch):
    monkeypatch.setattr(connection, "find_spec", lambda _: None)
    with pytest.raises(LocalCloudError, match=r'pip install "argon2-cffi>=.*"uvicorn>='):
        lk_jupyter.connect("local")


# The shared session


@pytest.mark.usefixtures("signed_in")
def test_the_shared_session_is_one_until_the_settings_change(monkeypatch):
    first = session.current()
    assert session.current() is first
    monkeypatch.setenv("LK_ORG", "local")
    assert session.current() is not first
    assert session.current().whoami().organization_source == "LK_ORG"


@pytest.mark.usefixtures("signed_in")
def test_the_older_session_goes_on_for_the_runs_that_use_it(monkeypatch):
    first = session.current()
    monkeypatch.setenv("LK_ORG", "local")
    session.current()
    assert first.whoami().account == "local@localhost"


@pytest.mark.usefixtures("signed_in")
def test_many_threads_share_one_session():
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: (session.current(), session.current().client), range(32)))
    assert len(set(found)) == 1


# Signing in


def test_a_key_is_tried_then_kept(cloud, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: f" {cloud.api_key}\n")
    done = login.login(base_url=cloud.base_url)
    assert str(done).startswith(f"Signed in to {cloud.base_url}; the key is stored in the file ")
    assert session.current().whoami().key_source == "config file"


@pytest.mark.usefixtures("memory_keyring")
def test_a_keyring_is_preferred_to_a_file(cloud, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: cloud.api_key)
    assert login.login(base_url=cloud.base_url).kept_in == "keyring"
    assert session.current().whoami().key_source == "keyring"


def test_a_key_that_the_server_refuses_is_not_kept(cloud, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: "lk_wrong_key")
    with pytest.raises(NotSignedIn, match="Nothing was changed") as caught:
        login.login(base_url=cloud.base_url)
    assert "lk_wrong_key" not in str(caught.value)
    assert not settings.config_file().exists()


def test_no_answer_to_the_prompt_changes_nothing(cloud, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: "")
    with pytest.raises(UsageError, match="Nothing was changed"):
        login.login(base_url=cloud.base_url)
    assert not settings.config_file().exists()


@pytest.mark.usefixtures("local_data")
@pytest.mark.parametrize(
    "ways",
    [
        {"local": True, "browser": True},
        {"local": True, "email": "me@example.org"},
        {"local": True, "base_url": "http://127.0.0.1:1"},
        {"browser": True, "email": "me@example.org"},
    ],
)
def test_two_ways_to_sign_in_at_once_change_nothing(ways):
    with pytest.raises(UsageError, match="Nothing was changed"):
        login.login(**ways)
    assert not settings.config_file().exists()


def test_where_nobody_can_be_asked_the_variable_is_named():
    script = "import lk_jupyter; lk_jupyter.login()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input="lk_x\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
    assert "LK_API_KEY" in done.stderr.splitlines()[-1]


def test_a_variable_that_overrules_the_kept_key_is_named(cloud, monkeypatch):
    monkeypatch.setenv("LK_API_KEY", "lk_older")
    monkeypatch.setattr("getpass.getpass", lambda _: cloud.api_key)
    assert login.login(base_url=cloud.base_url).overruled_by == ("LK_API_KEY",)


def test_login_local_makes_the_local_cloud_the_server(local_data):
    assert login.login(local=True).base_url == local_data.base_url
    assert settings.resolve("base_url") == ("local", "config file")
    assert session.current().base_url == local_data.base_url


@pytest.mark.usefixtures("local_data")
def test_after_the_local_cloud_a_key_is_asked_for_the_real_one(monkeypatch):
    login.login(local=True)
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "")
    with pytest.raises(UsageError):
        login.login()
    assert "https://api.lyceum.technology" in asked[0]


def test_logout_forgets_the_key(cloud, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: cloud.api_key)
    login.login(base_url=cloud.base_url)
    assert signin.logout() == [f"Deleted the key for {cloud.base_url}."]
    with pytest.raises(NotSignedIn):
        session.current()


def test_logout_tells_what_still_signs_in(signed_in):
    assert signin.logout() == [
        f"No key was stored for {signed_in.base_url}.",
        f"You are still signed in to {signed_in.base_url} through LK_API_KEY.",
    ]


@pytest.mark.usefixtures("local_data")
def test_logout_from_the_local_cloud_goes_back_to_the_real_one():
    login.login(local=True)
    assert "keeps its data" in signin.logout()[0]
    assert settings.setting("base_url") == "https://api.lyceum.technology"


# In a browser


@pytest.fixture
def dashboard(monkeypatch):
    """A function that makes the pages of a local cloud, which is this user's, the web site."""

    def use(cloud):
        monkeypatch.setenv("LK_DASHBOARD_URL", cloud.base_url)
        monkeypatch.setenv("LK_LOCAL_DATA", str(cloud.data))
        return cloud

    return use


def test_the_web_site_signs_in_through_one_callback(cloud, browser, dashboard, capsys):
    dashboard(cloud)
    browser(click)
    done = login.login(browser=True, base_url=cloud.base_url)
    assert done.base_url == cloud.base_url
    assert session.current().whoami().account == "local@localhost"
    assert f"{cloud.base_url}/cli-login?callback=http%3A%2F%2Flocalhost%3A" in capsys.readouterr().out


def test_a_session_that_ends_is_renewed_and_the_new_pair_is_kept(make_cloud, browser, dashboard):
    cloud = dashboard(make_cloud("--access-seconds", "200"))  # renewed when 300 s or less remain: at every call
    browser(click)
    login.login(browser=True, base_url=cloud.base_url)
    before = settings.credential()
    assert session.current().whoami().account == "local@localhost"
    after = settings.credential()
    assert after.refresh_token != before.refresh_token
    session.close_all()
    assert session.current().whoami().account == "local@localhost"


def test_two_kernels_on_one_session_do_not_spend_its_refresh_token_twice(make_cloud, browser, dashboard):
    cloud = dashboard(make_cloud("--access-seconds", "200"))  # due at the first call of each
    browser(click)
    login.login(browser=True, base_url=cloud.base_url)
    target = connection.Target(settings.credential())
    with session.Session(target) as one, session.Session(target) as other:
        assert one.client.user.status().email == "local@localhost"
        renewed = settings.credential()
        assert other.client.user.status().email == "local@localhost"
        assert settings.credential() == renewed != target.key
        assert one.client.user.status().email == "local@localhost"


def test_an_error_of_the_web_site_is_shown_and_nothing_is_kept(browser):
    browser(lambda url: httpx.get(callback_of(url), params={"error": "access denied"}))
    with pytest.raises(NotSignedIn, match="access denied"):
        login.login(browser=True)
    assert not settings.config_file().exists()


def test_a_token_that_the_server_does_not_know_is_not_trusted(cloud, browser):
    browser(lambda url: httpx.get(callback_of(url), params={"token": "for.ged.token"}))
    with pytest.raises(NotSignedIn, match="doesn't accept"):
        login.login(browser=True, base_url=cloud.base_url)
    assert not settings.config_file().exists()


def test_only_a_callback_counts_and_only_the_first(browser):
    pages = []

    def act(url):
        pages.append(httpx.get(callback_of(url).replace("/callback", "/favicon.ico")))
        pages.append(httpx.get(callback_of(url), params={"token": "fi.r.st"}))

    browser(act)
    answer = browser_login.ask_browser("https://dashboard.example.org", lambda _: None)
    assert answer.token == "fi.r.st"
    assert [page.status_code for page in pages[:1]] == [404]
    assert "fi.r.st" not in repr(answer)


def test_the_listener_is_on_the_loopback_and_gone_after(browser):
    seen = []

    def act(url):
        seen.append(callback_of(url))
        httpx.get(callback_of(url), params={"token": "a.b.c"})

    browser(act)
    browser_login.ask_browser("https://dashboard.example.org", lambda _: None)
    assert seen[0].startswith("http://localhost:")
    with pytest.raises(httpx.ConnectError):
        httpx.get(seen[0])


SPRAYS = [
    {"Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Mode": "cors", "Origin": "https://evil.example"},
    {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Host": "evil.example"},
    {"Host": "localhost"},
]


@pytest.mark.parametrize("headers", SPRAYS)
def test_a_site_that_asks_every_port_signs_nobody_in_to_its_account(browser, headers):
    answers = []

    def act(url):
        callback = httpx.URL(callback_of(url))
        spray = callback.copy_with(query=b"token=e.vi.l")
        answers.append(httpx.get(spray, headers={"Host": f"localhost:{callback.port}", **headers}).status_code)
        answers.append(httpx.get(spray.copy_merge_params({"state": "guessed"})).status_code)
        httpx.get(callback, params={"token": "fi.r.st", "state": httpx.URL(url).params["state"]})

    browser(act)
    assert browser_login.ask_browser("https://dashboard.example.org", lambda _: None).token == "fi.r.st"
    assert answers == [404, 404]


def test_a_web_site_that_drops_the_state_signs_in_too(browser):
    browser(lambda url: httpx.get(callback_of(url), params={"token": "fi.r.st"}))
    assert browser_login.ask_browser("https://dashboard.example.org", lambda _: None).token == "fi.r.st"


def test_the_owners_local_cloud_brings_the_state_back_or_does_not_count(browser):
    def act(url):
        assert httpx.get(callback_of(url), params={"token": "e.vi.l"}).status_code == 404
        httpx.get(callback_of(url), params={"token": "fi.r.st", "state": httpx.URL(url).params["state"]})

    browser(act)
    answer = browser_login.ask_browser("http://127.0.0.1:1", lambda _: None, proof=lambda _: {"pass": "x"})
    assert answer.token == "fi.r.st"


def test_an_idle_connection_holds_up_no_sign_in(browser):
    idle = []

    def act(url):
        port = httpx.URL(callback_of(url)).port
        idle.extend(socket.create_connection(("127.0.0.1", port)) for _ in range(20))
        idle[0].sendall(b"GET /callback?token=e.vi.l HTTP/1.1\r\n")
        httpx.get(callback_of(url), params={"token": "fi.r.st"})

    browser(act)
    assert browser_login.ask_browser("https://dashboard.example.org", lambda _: None).token == "fi.r.st"
    for each in idle:
        each.close()


def test_an_idle_connection_does_not_stop_the_time_limit(browser):
    idle = []
    browser(lambda url: idle.append(socket.create_connection(("127.0.0.1", httpx.URL(callback_of(url)).port))))
    started = time.monotonic()
    with pytest.raises(NotSignedIn, match="No answer from the website"):
        browser_login.ask_browser("https://dashboard.example.org", lambda _: None, patience=1)
    assert time.monotonic() - started < 60
    assert len(idle) == 1
    idle[0].close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_nobody_else_listens_where_a_browser_may_look_for_localhost(browser):
    def act(url):
        with socket.socket(socket.AF_INET6) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind(("::1", httpx.URL(callback_of(url)).port))
        httpx.get(callback_of(url), params={"token": "fi.r.st"})

    browser(act)
    assert browser_login.ask_browser("https://dashboard.example.org", lambda _: None).token == "fi.r.st"


@pytest.fixture
def signed_in_as_another(cloud, browser, dashboard):
    """A user who is signed in, and a web site that leads the browser into the account of somebody else."""
    dashboard(cloud)
    browser(click)
    login.login(browser=True, base_url=cloud.base_url)
    cloud.add_user("eve@example.com")
    with Client(cloud.base_url) as stranger:
        theirs = stranger.auth.login(LoginRequest(email="eve@example.com", password="correct horse"))

    def act(url):
        asked = httpx.URL(url).params
        httpx.get(asked["callback"], params={"token": theirs.access_token, "state": asked["state"]})

    browser(act)
    return cloud


@pytest.mark.parametrize("answer", ["", "n", EOFError])
def test_a_web_site_does_not_change_the_account_unasked(signed_in_as_another, monkeypatch, answer):
    asked = []

    def said(question):
        asked.append(question)
        if answer is EOFError:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", said)
    with pytest.raises(NotSignedIn, match=r"eve@example.com.*Nothing was changed"):
        login.login(browser=True, base_url=signed_in_as_another.base_url)
    assert asked[0].startswith(
        "You are now signed in as eve@example.com. Before, you were signed in as local@localhost. Keep the new account?"
    )
    assert session.current().whoami().account == "local@localhost"


def test_another_account_is_kept_when_its_user_says_so(signed_in_as_another, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "y")
    login.login(browser=True, base_url=signed_in_as_another.base_url)
    assert session.current().whoami().account == "eve@example.com"
    login.login(browser=True, base_url=signed_in_as_another.base_url)


def test_the_local_clouds_ticket_is_in_no_address_that_a_browser_opens(cloud, browser, dashboard, capsys):
    dashboard(cloud)
    opened, ticket = [], cloud.ticket

    def act(url):
        opened.append(url)
        click(url)

    browser(act)
    login.login(browser=True, base_url=cloud.base_url)
    assert ticket not in opened[0] + capsys.readouterr().out
    assert httpx.post(opened[0]).status_code == 401


def test_a_sign_in_that_is_left_leaves_no_pass(cloud, browser, dashboard, monkeypatch):
    dashboard(cloud)
    opened = []
    browser(opened.append)
    monkeypatch.setattr(browser_login, "TICK", 0.01)
    monkeypatch.setattr(login, "ask_browser", partial(browser_login.ask_browser, patience=0.5))
    with pytest.raises(NotSignedIn, match="No answer"):
        login.login(browser=True, base_url=cloud.base_url)
    assert httpx.post(opened[0]).status_code == 401


def test_no_answer_ends_after_its_time_with_another_way(browser):
    browser(lambda _: None)
    with pytest.raises(NotSignedIn, match="create a key in the dashboard"):
        browser_login.ask_browser("https://dashboard.example.org", lambda _: None, patience=0.05)


@pytest.fixture
def interruptible():
    """Interrupts as a terminal has them, also where the tests run in the background without."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, found)


def test_an_interrupt_ends_the_wait(browser, interruptible):
    browser(lambda _: _thread.interrupt_main())
    with pytest.raises(KeyboardInterrupt):
        browser_login.ask_browser("https://dashboard.example.org", lambda _: None)


def callback_of(page):
    return httpx.URL(page).params["callback"]


#: Values of the options that are no switches.
VALUES = {
    **dict.fromkeys(("save", "resume", "session", "image", "volume"), "x"),
    **{name: ["x"] for name in ("metric", "arg", "inputs", "outputs", "secret", "stage")},
    "sweep": ["x=1,2"],
    "parallel": 2,
    "attach": "auto",
    "on_interrupt": "detach",
    "on": "vm",
}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call, name)
        for call, declared in CALLS.items()
        if not declared.only and not declared.is_cell
        for name, field in declared.model.model_fields.items()
        if declared.lacks.intersection(extras(field)["needs"]) and (call, name) != ("Executor", "session")
    ],
)
def test_an_option_that_a_call_cannot_honor_is_refused_and_nothing_is_sent(request, call, name):
    connected = request.getfixturevalue("session")
    option = {name: VALUES.get(name, True)}
    start = (
        partial(lk_jupyter.Executor, session=connected)
        if call == "Executor"
        else partial(getattr(connected, call.removeprefix("session.")), "x")
    )
    before = len(journal.journal().entries())
    with pytest.raises(UsageError, match=f"'{name}'. Nothing was sent. The option works .*%%lk_run"):
        start(**option)
    assert len(journal.journal().entries()) == before


#: Options of a cell in a session that change how it is shown, not what is sent. A session shows no hints.
SHOWN = {"quiet", "dry_run", "time", "no_hints"}

#: Values of the options that a session honors.
SESSION_VALUES = {
    "gpu": "H100",
    "machine": "gpu.h100",
    "timeout": 120,
    "max_cost": Decimal("0.01"),
    "files": ["data.txt"],
    "inputs": ["numbers"],
    "outputs": ["numbers"],
    "session": "other",
    "idle": 3.0,
    "image": "jupyter/scipy-notebook",
    "keep": 60,
    "max_price": Decimal("0.01"),
    "memory": 1000.0,
    "requirements": ["pydantic"],
}


def session_request(connected, source, options):
    """Return what a cell of a session sends, what its machine is started with, and whether a secret is sent."""
    cell, machine = prepare_cell(connected, source, options), prepare_warm_python(connected, options)
    try:
        require_consent([cell])
        consent = True
    except UsageError:
        consent = False
    carried = [cell.payload.settings.get(name) for name in ("pickle", "carry")]
    names = [[one.name for one in cell.payload.inputs], cell.payload.outputs]
    start = machine.request.model_dump(exclude={"metadata"})
    start["docker_run_cmd"] = [word for word in start["docker_run_cmd"] if "password" not in word]
    packages = requirements_text(cell)
    return cell.source.code, cell.uploads, names, carried, start, consent, packages


@pytest.mark.parametrize("name", RunOptions.model_fields)
def test_each_option_is_honored_or_refused_in_a_session(request, tmp_path, monkeypatch, name):
    monkeypatch.setenv("LK_CARRY", "always" if name == "fresh" else "ask")
    connected = request.getfixturevalue("session")
    (tmp_path / "data.txt").write_text("1")
    namespace = {"numbers": [1], "letters": "a"}
    source = Source(f"numbers; token = 'ghp_{'a1B2' * 9}'", folder=tmp_path, is_cell=True, namespace=namespace)
    plain = RunOptions(session="train", inputs=["letters"])
    value = SESSION_VALUES.get(name, VALUES.get(name, ["x"] if name in {"label", "requirements"} else True))
    value = {"metadata": {"a": "b"}, "name": "x"}.get(name, value)
    options = plain.model_copy(update={name: value})
    if {"run", "several"}.intersection(extras(RunOptions.model_fields[name])["needs"]):
        flag = name.replace("_", "-")
        with pytest.raises(UsageError, match=rf"^--{flag} doesn't work with --session\. Nothing was sent\. \w"):
            prepare_cell(connected, source, options)
    elif name in {"max_price", "memory"}:
        for prepare in (
            partial(prepare_cell, connected, source),
            partial(prepare_warm_python, connected),
        ):
            with pytest.raises(UsageError, match=r"doesn't meet .* Nothing was sent\."):
                prepare(options)
    else:
        changed = session_request(connected, source, options) != session_request(connected, source, plain)
        assert changed == (name not in SHOWN)


def test_an_option_that_has_its_default_is_no_mistake(request):
    run = request.getfixturevalue("session").run(
        "print(1)", quiet=False, dry_run=False, save=None, on_interrupt="abort"
    )
    assert run.result(PATIENCE).return_code == 0
