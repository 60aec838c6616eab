"""Fixtures of all tests: local clouds, as real servers on ports of their own."""

from __future__ import annotations

import atexit
import gc
import json
import os
import re
import signal
import sys
import webbrowser
from functools import cache, cached_property, partial
from inspect import Signature, signature
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import cloud_process
import httpx
import keyring
import pytest
from _pytest.assertion import rewrite
from argon2 import PasswordHasher
from broker.scenarios import NOT_THROUGH_BROKER
from cloud_process import FORKS, PROCESSES, forked
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from httpx._transports import default
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from patience import PATIENCE
from traitlets.config import Config
from upstream_stub import UpstreamStub

from lk_jupyter import session
from lk_jupyter.api._client import Client
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.journal import journal
from lk_jupyter.localcloud.accounts import passwords
from lk_jupyter.localcloud.accounts.signup import sign_up
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.ticket import TICKET_FILE
from lk_jupyter.runs import abort, follow

# How long an example takes on a busy machine says nothing. New examples are looked for in the night, many more of them:
# of two runs on the same code one would fail.
settings.register_profile(
    "calm",
    deadline=None,
    derandomize="LK_NIGHTLY" not in os.environ,
    max_examples=int(os.environ.get("LK_EXAMPLES", "15")),
)
settings.load_profile("calm")
if "LK_NIGHTLY" not in os.environ:  # nor are the constants of the modules drawn that one process has imported so far
    providers._get_local_constants = lambda: providers._local_constants

follow.LATE = follow.LATE_AFTER_ABORT = 0.0  # most stand-ins store no output, and never will

for _part in ("connect", "read", "write", "pool"):  # a busy machine may be slower than the five seconds of httpx
    setattr(DEFAULT_TIMEOUT_CONFIG, _part, PATIENCE)
abort.LET_GO = PATIENCE  # and to end what was aborted

#: Each of thousands of clients reads the system's certificates, and none changes what it has read.
default.create_ssl_context = httpx.create_ssl_context = cache(httpx.create_ssl_context)

#: Users that tests add have a password that is checked at once; the parameters stand in the hash.
passwords.hasher = cache(lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))

if FORKS:
    PROCESSES.set_forkserver_preload(["lk_jupyter.localcloud.server", "cloud_routes"])


#: What a test is no unit test with: fixtures that start servers, kernels or browsers, and words by which a file does.
STARTED = {"chromium", "cloud", "hosting", "image", "jupyter", "make_cloud", "talkative"}
STARTS = re.compile(
    r"\b(KernelManager|RunningCloud|Weed|books|pexpect|start_new_kernel|subprocess|import (running|.*lab))\b"
)
UI = Path(__file__).parent / "ui"

#: Whether the clouds of the tests are behind brokers, as ``tests/broker/test_scenarios.py`` sets it.
THROUGH_BROKER = "LK_THROUGH_BROKER" in os.environ


@cache
def starts_something(path):
    """Whether a file or a folder of tests has no unit test, as its place or its words say."""
    return UI in (path, path.parent) or (path.suffix == ".py" and bool(STARTS.search(path.read_text("utf-8"))))


def pytest_ignore_collect(collection_path, config):
    """Don't import for the unit tests what has none of them: every other file."""
    return True if config.option.markexpr.startswith("unit") and starts_something(collection_path) else None


def pytest_configure(config):
    """Know our mark, and those of pyarrow's tests, which are run on ``lk://``."""
    config.addinivalue_line("markers", "nightly: one of many alike, of which make test has some: for make test-all")
    config.addinivalue_line("markers", "unit: starts no server, kernel or browser (set for each test that does not)")
    for mark in ("azure", "gcs", "gzip", "hdfs", "numpy", "pandas", "processes", "s3", "threading"):
        config.addinivalue_line("markers", f"{mark}: of pyarrow")


#: Each shell of IPython ends with a search for garbage in all that there is: a third of a second, hundreds of times.
QUICK_GC = SimpleNamespace(**{**vars(gc), "collect": partial(gc.collect, 0)})
flush = DisplayHook.flush


def flush_quickly(hook):
    """Let it search the newest objects only: it imports gc each time."""
    sys.modules["gc"] = QUICK_GC
    try:
        flush(hook)
    finally:
        sys.modules["gc"] = gc


DisplayHook.flush = flush_quickly

#: It takes jsonschema a second to import its grammar of addresses, whose format no test checks; nor do the Jupyter
#: servers of the tests' clouds, which find another module of that name in this folder.
sys.modules.setdefault("rfc3987_syntax", None)
WITHOUT = str(Path(__file__).parent / "without")

#: The tests start hundreds of processes. Compile what they import once, also where the environment forbids to keep it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: Each of dozens of object stores holds little, and looks for garbage less often.
os.environ.setdefault("GOGC", "400")

#: A shell that starts the tests in the background lets them, and all that they start, ignore interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def compile_share(config):
    """Compile this process's share of the tests that nobody has compiled: each would compile all, at the same time."""
    number, count = os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"), os.environ["PYTEST_XDIST_WORKER_COUNT"]
    for path in sorted(UI.parent.rglob("test_*.py"))[int(number) :: int(count)]:
        compiled = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
        if not compiled.exists():
            compiled.parent.mkdir(parents=True, exist_ok=True)
            source, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source, compiled)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Search for garbage less, and never in what collecting makes: it stays, and each IPython shell ends with one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        compile_share(session.config)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000)
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """Fail a test after which Python handles interrupts otherwise: later tests of the process would wait for theirs."""
    result = yield
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pytest.fail(f"After this test, interrupts are handled by {handler!r}")
    return result


def pytest_make_parametrize_id(val, argname):
    """Name a long text by its length: the name of a test is sent between processes and set in the environment."""
    return f"{argname} of {len(val)}" if isinstance(val, (str, bytes)) and len(val) > 200 else None


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Mark the unit tests; run in one process what shares what takes long to start, and the unit tests of a file.

    Begin with what takes longest, so that none runs alone at the end: the browser's tests, the group of the clouds with
    Jupyter servers, other groups, those that have a time limit of their own.
    """
    texts = {path: path.read_text("utf-8") for path in {item.path for item in items}}
    for item in items:
        if THROUGH_BROKER and (reason := NOT_THROUGH_BROKER.get(item.originalname)):
            item.add_marker(pytest.mark.skip(reason=reason))
        if not starts_something(item.path) and STARTED.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.unit)
        if item.get_closest_marker("xdist_group"):
            continue
        if "jupyter" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("jupyter"))
        elif 'scope="module"' in texts[item.path] or item.get_closest_marker("unit"):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name} {item.path.stem}"))
    items.sort(key=_get_order)


def _get_order(item):
    """Return the key that sorts a test: tests that take longest come first."""
    group, limit = map(item.get_closest_marker, ("xdist_group", "timeout"))
    return item.path.parent != UI, group is None or group.args[0] != "hosted", group is None, limit is None


def for_each(rows, name=str):
    """Let one test check all rows, and name those that fail: a test for each takes ten times what its check does.

    The check takes a row first, and fixtures. A row that its ``pytest.skip`` leaves out is passed over; the test is
    skipped where all are.
    """

    rows = list(rows)

    def decorate(check):
        def test(**fixtures):
            failed, skipped = [], []
            for row in rows:
                try:
                    check(row, **fixtures)
                except pytest.skip.Exception as reason:
                    skipped.append(reason)
                except Exception as error:  # noqa: BLE001 (told below, with those of the others)
                    failed.append(f"{name(row)}: {type(error).__name__}: {error}")
            assert not failed, "\n".join(failed)
            if len(skipped) == len(rows):
                raise skipped[0]

        _, *fixtures = signature(check).parameters.values()
        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        test.__signature__ = Signature([row.replace(kind=row.KEYWORD_ONLY) for row in fixtures])
        return test

    return decorate


class Clicker(webbrowser.BaseBrowser):
    """A browser whose user does at once what the page asks for."""

    def __init__(self, act):
        super().__init__("clicker")
        self.act = act

    def open(self, url, *_):
        self.act(url)
        return True


@pytest.fixture
def browser(monkeypatch):
    """A function that sets what happens when Python opens a page."""

    def use(act):
        monkeypatch.setattr(webbrowser, "_browsers", {"clicker": [None, Clicker(act)]})
        monkeypatch.setattr(webbrowser, "_tryorder", ["clicker"])

    return use


class RunningCloud:
    """A local cloud in a process of its own; it can be stopped, killed and started again on its data."""

    def __init__(self, data, *options, has_lab=True):
        self.data = data
        self.options = options
        self.has_lab = has_lab
        self.broker = None
        self.start()

    def start(self):
        reader, writer = PROCESSES.Pipe(duplex=False)
        arguments, env = ["--data", str(self.data), *self.options], {**os.environ, "PYTHONPATH": WITHOUT}
        self.process = forked(cloud_process.serve, arguments, env, writer, has_lab=self.has_lab)
        writer.close()
        with reader, open(reader.fileno(), closefd=False) as stdout:
            self.address = json.loads(stdout.readline())
        self.base_url = self.address["base_url"]
        self.api_key = self.address["api_key"]
        if THROUGH_BROKER:
            self._add_broker()

    def _add_broker(self):
        """Put a broker before the cloud, with a key that may do all that a child key can."""
        from broker.running import ALL_SCOPES, RunningBroker  # noqa: PLC0415 (most tests need none)

        data = self.data.with_name(f"{self.data.name}-broker") / "data"
        port = httpx.URL(self.broker.base_url).port if self.broker else 0
        options = ("--price", "cpu=0.10", "--port", str(port))
        self.broker = RunningBroker(data, self.base_url, self.api_key, *options)
        if not hasattr(self, "child_key"):
            self.child_key = self.broker.grant(credits=100_000, upload_gib=100_000, scopes=ALL_SCOPES).key
        self.base_url, self.api_key = self.broker.base_url, self.child_key

    @property
    def cloud_url(self):
        """The address of the cloud, also behind a broker."""
        return self.address["base_url"]

    @property
    def ticket(self):
        """What signs the local user in on the page, as its owner reads it."""
        return (self.data / TICKET_FILE).read_text()

    def is_running(self):
        return self.process.is_alive()

    def stop(self):
        """End it cleanly; return its exit code."""
        self.process.terminate()
        return self._gone()

    def kill(self):
        """End it as a crash would."""
        self.process.kill()
        return self._gone()

    def restart(self):
        self.stop()
        self.start()

    def add_user(self, email, password="correct horse"):
        """Add a user, or give one a new password, as the command --add-user does; return what it tells."""
        return sign_up(self.data, CloudOptions(), email, password)

    def _gone(self):
        for name in ("client", "http"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
        if self.broker:
            self.broker.stop()
        self.process.join(PATIENCE)
        code = self.process.exitcode
        assert code is not None, "the cloud does not end"
        return code

    @cached_property
    def client(self):
        """The package's own client."""
        return Client(self.base_url, self.api_key)

    @cached_property
    def http(self):
        """A plain client below the API's path, as the owner of the cloud: never through a broker."""
        url = httpx.URL(self.cloud_url)

        def bypass_broker(request):
            request.url = request.url.copy_with(host=url.host, port=url.port)

        headers = {"Authorization": f"Bearer {self.address['api_key']}"}
        hooks = {"request": [bypass_broker]}
        return httpx.Client(base_url=f"{url}/api/v2/external", headers=headers, timeout=PATIENCE, event_hooks=hooks)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """One local cloud for all tests of a worker."""
    running = RunningCloud(tmp_path_factory.mktemp("cloud"), "--clock-speed", "20")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def session_upstream():
    stub = UpstreamStub()
    yield stub
    stub.close()


@pytest.fixture
def upstream(session_upstream):
    """The service behind ``talkative``, as it was at its start."""
    session_upstream.requests.clear()
    session_upstream.headers.clear()
    session_upstream.answer = session_upstream.cut = None
    session_upstream.hold.set()
    return session_upstream


@pytest.fixture(scope="session")
def talkative(session_upstream, tmp_path_factory):
    """One local cloud for all tests of a worker whose models are its own and those of the upstream."""
    options = ("--inference-upstream", session_upstream.url, "--clock-speed", "20", "--faults")
    running = RunningCloud(tmp_path_factory.mktemp("talkative"), *options)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def hosting(tmp_path_factory):
    """A local cloud without an engine, whose notebook runs are Jupyter servers of this environment."""
    options = ("--engine", "none", "--clock-speed", "20")
    running = RunningCloud(tmp_path_factory.mktemp("hosting"), *options, has_lab=False)
    yield running
    running.stop()


@pytest.fixture
def make_cloud(tmp_path_factory):
    """Start fresh local clouds with options; all are stopped at the end of the test."""
    made = []

    def make(*options):
        made.append(RunningCloud(tmp_path_factory.mktemp("cloud"), *options))
        return made[-1]

    yield make
    for running in made:
        if running.is_running():
            running.stop()


@pytest.fixture(name="session")
def signed_in_session(cloud, home):
    """A session on the cloud of the tests."""
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        yield connected


@pytest.fixture(autouse=True)
def drivers():
    """End the detached drivers that a test has started: they outlive this process otherwise."""
    yield
    module = sys.modules.get("lk_jupyter.journal.drivers")
    for process in chain.from_iterable(module._drivers.values() if module else ()):
        process.kill()
        process.wait()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's empty home: no settings, no key, no keyring."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for kind in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
    for variable in (name for row in SETTINGS for name in row.env):
        monkeypatch.delenv(variable, raising=False)
    found = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    yield tmp_path
    session.close_all()
    journal.close_all()
    keyring.set_keyring(found)


@pytest.fixture
def signed_in(cloud, home, monkeypatch):
    """The test session's cloud, set in the environment of its user."""
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    return cloud


@pytest.fixture
def local_data(cloud, home, monkeypatch):
    """The test session's cloud as the local cloud of its user, who has not signed in yet."""
    monkeypatch.setenv("LK_LOCAL_DATA", str(cloud.data))
    return cloud


@pytest.fixture
def talking(talkative, upstream, home, monkeypatch):
    """The talkative cloud, set in the environment of its user."""
    monkeypatch.setenv("LK_BASE_URL", talkative.base_url)
    monkeypatch.setenv("LK_API_KEY", talkative.api_key)
    return talkative


class MemoryKeyring(KeyringBackend):
    """A keyring that works as those of desktops do, without a desktop."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture
def memory_keyring(home):
    """The keyring of a user who has one."""
    keyring.set_keyring(MemoryKeyring())
    return keyring.get_keyring()


@pytest.fixture
def names(home):
    """The variables of a notebook, whose shell there is for the test."""
    main = sys.modules["__main__"]
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    yield shell.user_ns
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main
