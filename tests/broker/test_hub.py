"""A real JupyterHub with a broker as its service: tokens of the hub are keys, with budgets per user and group."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from broker.running import API, RESERVED, START, KeyFiles, read_state, wait_settled
from patience import PATIENCE, wait_until

from lk_jupyter.broker.grants import GrantLimits
from lk_jupyter.broker.hub import HubBudgets, read_access_scopes
from lk_jupyter.broker.ledger import _USAGE, GrantLedger, GrantUsage
from lk_jupyter.errors import UsageError

ROOT = Path(__file__).parents[2]
SLEEP = "import time; print('private', flush=True); time.sleep(600)"

CONFIG = """
import os, sys
folder, broker_port, hub_port, proxy_port, upstream = {values!r}
c.JupyterHub.bind_url = f"http://127.0.0.1:{{proxy_port}}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{{hub_port}}"
c.JupyterHub.db_url = f"sqlite:///{{folder}}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{{folder}}/cookie"
c.ConfigurableHTTPProxy.pid_file = f"{{folder}}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.load_groups = {{"vision": {{"users": ["ana", "ben"]}}}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = folder + "/{{username}}"
c.Spawner.cmd = [sys.executable, f"{{folder}}/server.py"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
access = "access:services!service=lk"
c.JupyterHub.load_roles = [
    {{"name": "user", "scopes": ["self", access]}},
    {{"name": "server", "scopes": ["users:activity!user", "access:servers!server", access]}},
]
c.Spawner.environment = {{"LK_BASE_URL": f"http://127.0.0.1:{{broker_port}}"}}
broker = [{python!r}, "-m", "lk_jupyter.broker", "serve", "--data", f"{{folder}}/broker", "--port", str(broker_port)]
broker += ["--upstream", upstream, "--key-file", f"{{folder}}/key", "--hub-budgets", f"{{folder}}/budgets.json"]
c.JupyterHub.services = [
    {{"name": "lk", "command": broker, "url": f"http://127.0.0.1:{{broker_port}}", "oauth_no_confirm": True}},
    {{"name": "tests", "api_token": "tests-token-0123456789", "admin": True}},
]
"""

#: A single-user server that writes down the key that its kernels have.
SERVER = """
import os, pathlib, sys
pathlib.Path.home().mkdir(exist_ok=True)
pathlib.Path.home().joinpath("token").write_text(os.environ["JUPYTERHUB_API_TOKEN"])
os.execv(sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", "--allow-root"])
"""


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def hub_environment():
    """The folder of an environment with JupyterHub and its proxy, which is kept for later tests."""
    if not shutil.which("npm"):
        pytest.skip("needs npm")
    folder = ROOT / ".out" / "hub"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "jupyterhub", "jupyterlab"], check=True)
        npm = ["npm", "install", "--silent", "--no-fund", "--prefix", str(folder), "configurable-http-proxy"]
        subprocess.run(npm, check=True)
        (folder / "complete").touch()
    return folder


@pytest.fixture(scope="module")
def hub(hub_environment, upstream, tmp_path_factory):
    """A hub with the users ana and ben in a group with 2.5 reservations a week.

    The values are a client of its API, the address of the broker, the folder, and the address for browsers.
    """
    folder = tmp_path_factory.mktemp("hub")
    broker_port, hub_port, proxy_port = (_free_port() for _ in range(3))
    values = (str(folder), broker_port, hub_port, proxy_port, upstream.base_url)
    (folder / "config.py").write_text(CONFIG.format(values=values, python=sys.executable))
    (folder / "server.py").write_text(SERVER)
    (folder / "key").write_text(upstream.api_key)
    budgets = {
        "groups": {"vision": {"credits": 2.5 * RESERVED, "period": "week"}},
        "users": {"*": {"credits": 2 * RESERVED, "project": "moon"}},
        "administrators": ["mira"],
    }
    (folder / "budgets.json").write_text(json.dumps(budgets))
    paths = [hub_environment / "bin", hub_environment / "node_modules" / ".bin", os.environ["PATH"]]
    env = {**os.environ, "PATH": os.pathsep.join(map(str, paths)), "JUPYTERHUB_CRYPT_KEY": "0" * 64}
    with (folder / "hub.log").open("w") as log:
        command = [hub_environment / "bin" / "python", "-m", "jupyterhub", "-f", folder / "config.py"]
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
    api = httpx.Client(
        base_url=f"http://127.0.0.1:{hub_port}/hub/api",
        headers={"Authorization": "token tests-token-0123456789"},
        timeout=PATIENCE,
    )
    try:
        wait_until(lambda: _answers(api, "/info") and _answers(api, f"http://127.0.0.1:{broker_port}/broker/key"))
        yield api, f"http://127.0.0.1:{broker_port}", folder, f"http://127.0.0.1:{proxy_port}"
    finally:
        api.close()
        process.terminate()
        process.wait(PATIENCE)


def _answers(client, address):
    try:
        return client.get(address).status_code < 500
    except httpx.HTTPError:
        return False


def _start_server(hub, name):
    """Start the server of a user; return a client of the broker with the token of this server."""
    api, broker_url, folder, _ = hub
    token_file = folder / name / "token"
    if not token_file.exists():  # an earlier test may have started it
        api.post(f"/users/{name}")
        assert api.post(f"/users/{name}/server").status_code in {201, 202}
    token = wait_until(lambda: token_file.exists() and token_file.read_text())
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=broker_url, headers=headers, timeout=PATIENCE)


@pytest.mark.nightly
def test_two_users_of_a_hub_share_the_budget_of_their_group_and_nothing_else(hub):
    broker_url = hub[1]
    ana, ben = _start_server(hub, "ana"), _start_server(hub, "ben")
    assert [read_state(user)["name"] for user in (ana, ben)] == ["ana", "ben"]
    start = f"{API}/execution/streaming/start"
    first = ana.post(start, json={**START, "code": SLEEP}).json()["execution_id"]
    assert ben.post(start, json={**START, "code": SLEEP}).status_code == 200
    assert [user.post(start, json=START).status_code for user in (ana, ben)] == [402, 402]
    assert [len(user.get(f"{API}/workloads/list").json()) for user in (ana, ben)] == [1, 1]
    for path in (f"/execution/{first}", f"/logs/execution/{first}", f"/execution/streaming/{first}/status"):
        assert (ana.get(API + path).status_code, ben.get(API + path).status_code) == (200, 404), path
    assert ben.post(f"/api/v1/stream/{first}").status_code == 404
    assert ben.post(f"{API}/workloads/abort/{first}").status_code == 404
    files, other_files = KeyFiles(ana, broker_url), KeyFiles(ben, broker_url)
    assert files.send("PUT", "/weights.bin", content=b"of ana").status_code == 200
    assert other_files.send("GET", "/weights.bin").status_code == 404
    assert "weights" not in other_files.send("GET", "", "list-type=2").text
    assert other_files.send("PUT", "/weights.bin", content=b"of ben").status_code == 200
    assert files.send("GET", "/weights.bin").content == b"of ana"
    assert [row["run"] for row in ana.get("/broker/runs").json()] == [first]
    for user in (ana, ben):
        assert user.get(f"{API}/environment-variables/").status_code == 403
        assert user.get("/broker/keys").status_code == 403
        for run in user.get(f"{API}/workloads/list").json():
            assert user.post(f"{API}/workloads/abort/{run['execution_id']}").status_code == 200
    for token in ("tests-token-0123456789", "x"):  # a service, and no token
        assert httpx.get(f"{broker_url}/broker/key", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    ana.close()
    ben.close()


def _sign_in(hub, name):
    """Sign a browser in to the hub; return it on the spending page."""
    browser = httpx.Client(base_url=hub[3], follow_redirects=True, timeout=PATIENCE)
    login = browser.get("/services/lk/")
    assert login.url.path == "/hub/login", login.text
    form = {"username": name, "password": "x", "_xsrf": browser.cookies["_xsrf"]}
    page = browser.post(str(login.url), data=form)
    assert (page.status_code, page.url.path, page.url.query) == (200, "/services/lk/spending", b""), page.text
    return browser, page.text


@pytest.mark.nightly
def test_a_token_without_access_to_the_service_reads_and_starts_nothing(hub):
    api, broker_url, _, _ = hub
    _start_server(hub, "ana").close()
    for scopes in (["read:users:name!user"], ["self"], ["access:servers!user"]):
        token = api.post("/users/ana/tokens", json={"scopes": scopes}).json()["token"]
        with httpx.Client(
            base_url=broker_url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
        ) as client:
            answers = [
                client.get("/broker/key"),
                client.get(f"{API}/workloads/list"),
                client.get("/broker/spending"),
                client.post(f"{API}/execution/streaming/start", json=START),
            ]
        assert [answer.status_code for answer in answers] == [403] * 4, scopes
        assert "access:services!service=lk" in answers[0].text
    access = {"scopes": ["access:services!service=lk", "read:users:name!user", "read:users:groups!user"]}
    token = api.post("/users/ana/tokens", json=access).json()["token"]
    assert httpx.get(f"{broker_url}/broker/key", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("environment", "scopes"),
    [
        ({"JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["custom:lk:use"]', "JUPYTERHUB_SERVICE_NAME": "lk"}, {"custom:lk:use"}),
        ({"JUPYTERHUB_SERVICE_NAME": "lk"}, {"access:services", "access:services!service=lk"}),
        ({"JUPYTERHUB_OAUTH_ACCESS_SCOPES": "[]"}, {"access:services"}),
        ({"JUPYTERHUB_OAUTH_ACCESS_SCOPES": "{"}, {"access:services"}),
    ],
)
def test_the_scopes_that_open_the_service_are_the_hubs_and_never_none(environment, scopes):
    assert read_access_scopes(environment) == scopes


@pytest.mark.nightly
def test_the_hub_signs_members_and_administrators_in_to_the_spending_page(hub):
    user, colleague = _start_server(hub, "ana"), _start_server(hub, "ben")
    for each in (user, colleague):
        wait_settled(each)  # an earlier test may have started runs
    run_id = user.post(f"{API}/execution/streaming/start", json=START).json()["execution_id"]
    wait_settled(user)
    ana, page = _sign_in(hub, "ana")
    assert run_id[:8] in page
    assert f"of {2 * RESERVED:.3f} credits left" in page
    assert "Shared: vision" in page
    ben, page = _sign_in(hub, "ben")
    assert run_id[:8] not in page
    mira, page = _sign_in(hub, "mira")
    assert all(f">{name}<" in page for name in ("ana", "vision", "moon"))
    texts = [browser.get("/services/lk/spending.csv").text for browser in (ana, ben, mira)]
    users = [[row["user"] for row in csv.DictReader(text.splitlines())] for text in texts]
    assert (users[0], "ana" in users[1], "ana" in users[2]) == (["ana"], False, True)
    assert "ben" not in user.get("/broker/spending").text  # the token of a server shows its user only
    forged = ben.get("/services/lk/oauth_callback?code=x&state=y")
    assert (forged.status_code, "started in this browser" in forged.text) == (403, True)
    assert ben.get(f"/services/lk{API}/workloads/list").status_code == 401  # the cookie only opens the pages
    ana.post("/services/lk/sign-out")
    ana.cookies.clear()
    assert ana.get("/services/lk/spending").url.path == "/hub/login"
    for client in (user, colleague, ana, ben, mira):
        client.close()


def test_the_limits_of_a_period_count_from_0_in_the_next_period(ledger):
    moment = datetime(2026, 11, 18, 15, 30, tzinfo=timezone.utc)
    starts = [GrantLimits(period=period).period_start(moment) for period in ("week", "month", "")]
    assert starts == [datetime(2026, 11, day, tzinfo=timezone.utc).timestamp() for day in (16, 1)] + [0]
    grant, _ = ledger.add_grant(ledger.grant("root"), GrantLimits(credits=100, period="week"))
    mark = ledger.reserve(grant, operation="x", machine="gpu.a100", price=3600, timeout=50, margin=0)
    ledger._database.execute("UPDATE runs SET created_at = 0")
    assert ledger.usage(grant).credits == 50
    ledger.settle(mark, 40, 50)
    assert (ledger.usage(grant).credits, ledger.usage(ledger.grant("root")).credits) == (0, 40)


def test_the_sums_of_a_grant_equal_its_runs_and_need_no_ended_run(ledger, tmp_path):
    group, _ = ledger.add_grant(ledger.grant("root"), GrantLimits(credits=10**6, period="month"))
    grants = [group, *(ledger.add_grant(group, GrantLimits(credits=10**6))[0] for _ in range(3))]
    ends = [lambda mark: ledger.settle(mark, 7, 5), ledger.release, lambda mark: ledger.doubt(mark, "lost"), len]
    for number in range(48):
        grant = grants[number % len(grants)]
        mark = ledger.reserve(grant, operation="x", machine="gpu.a100", price=3600, timeout=number, margin=1)
        ends[number // 4 % len(ends)](mark)
        if number % 5 == 0:
            ledger.settle(mark, 11, 3)  # an end is counted once
    rows = [row for row in ledger.runs_below(group.id) if row.state != "refused"]
    seconds = sum(row.timeout if row.seconds is None else row.seconds for row in rows)
    active = sum(row.state != "ended" for row in rows)
    expected = GrantUsage(sum(row.amount for row in rows), seconds, active)
    assert ledger.usage(group) == expected
    ledger._database.execute("DROP TABLE day_sums")  # as an earlier version of the broker left the file
    reopened = GrantLedger(tmp_path / "ledger.sqlite")
    assert reopened.usage(group) == expected
    (plan,) = {
        row[-1] for row in reopened._database.execute(f"EXPLAIN QUERY PLAN {_USAGE}", ("x", 0)) if "runs" in row[-1]
    }
    assert "USING INDEX open_runs" in plan
    reopened.close()


def test_a_named_grant_keeps_its_runs_when_its_budget_and_group_change(ledger):
    group = ledger.named_grant(ledger.grant("root"), "group vision", GrantLimits(credits=100))
    user = ledger.named_grant(group, "user ana", GrantLimits(credits=10))
    ledger.reserve(user, operation="x", machine="gpu.a100", price=3600, timeout=5, margin=0)
    moved = ledger.named_grant(ledger.grant("root"), "user ana", GrantLimits(credits=20))
    assert (moved.id, moved.chain, moved.limits.credits) == (user.id, (user.id, "root"), 20)
    assert [ledger.usage(grant).credits for grant in (moved, group)] == [5, 0]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"users": {"ana": {"credits": -1}}}',
        '{"users": {"ana": {"credit": 1}}}',
        '{"administrators": "ana"}',
    ],
)
def test_a_file_of_budgets_that_is_not_valid_starts_no_broker(text, tmp_path):
    (tmp_path / "budgets.json").write_text(text)
    with pytest.raises(UsageError, match="Nothing was started"):
        HubBudgets.read(tmp_path / "budgets.json")
