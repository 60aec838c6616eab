"""Each operation, called by the client on a local cloud. Those of later groups stand in calls_*.py."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from api.calls import calls, gathered

from lk_jupyter.api._client import Client
from lk_jupyter.api._events import Finished, Output
from lk_jupyter.api.auth import Auth, RefreshRequest
from lk_jupyter.api.billing import Billing
from lk_jupyter.api.execution import Execution, Stream, StreamingExecutionRequest
from lk_jupyter.api.logs import Logs
from lk_jupyter.api.machine_types import MachineTypes
from lk_jupyter.api.orgs import Orgs
from lk_jupyter.api.pricing import Pricing
from lk_jupyter.api.user import User
from lk_jupyter.api.workloads import Workloads
from lk_jupyter.errors import BadRequest, Invalid, NotFound, Unauthorized


class Recorder(Client):
    """A client that notes what it was asked for."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.called = set()

    def _send(self, call):
        self.called.add(call.endpoint)
        return super()._send(call)


@dataclass
class Ended:
    """A run that has ended, and its start answer."""

    id: str
    code: str


CODE = "import sys\nprint('to out')\nprint('to err', file=sys.stderr)\n"


@pytest.fixture(scope="module")
def client(cloud):
    with Recorder(cloud.base_url, cloud.api_key) as client:
        client.cloud = cloud
        yield client


@pytest.fixture(scope="module")
def ended(client):
    run = start(client, CODE, execution_type="gpu.a100")
    assert list(client.follow(run.execution_id))[-1] == Finished(0)
    return Ended(run.execution_id, CODE)


def start(client, code, **options):
    return client.execution.start_streaming(StreamingExecutionRequest(code=code, **options))


def end(client, execution_id):
    """Abort a run and wait for its last event."""
    client.workloads.abort(execution_id)
    assert isinstance(list(client.follow(execution_id))[-1], Finished)
    return client.execution.status(execution_id).status


SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)"


def sleeping(client):
    """Start a run that sleeps, and return its id once it prints."""
    run = start(client, SLEEP, timeout=600)
    stream = client.follow(run.execution_id, run.streaming_url)
    assert next(stream).content.startswith("up")
    stream.close()
    return run.execution_id


@calls(Execution.start_streaming)
def starting(client, _):
    run = start(client, "print(1)", run_name="one", labels=["a"], metadata={"cell": "7"})
    assert run.status in {"pending", "starting", "queued"}
    assert (
        "".join(
            event.content for event in client.follow(run.execution_id, run.streaming_url) if isinstance(event, Output)
        )
        == "1\n"
    )
    record = client.execution.get(run.execution_id)
    assert (record.run_name, record.labels, record.metadata) == ("one", ["a"], {"cell": "7"})
    with pytest.raises(Invalid, match="execution_type"):
        start(client, "1", execution_type="gpu.none")


@calls(Execution.status)
def status(client, ended):
    assert client.execution.status(ended.id).status == "completed"


@calls(Execution.get)
def get(client, ended):
    record = client.execution.get(ended.id)
    assert (record.stdout, record.stderr, record.return_code) == ("to out\n", "to err\n", 0)
    assert record.python_code == ended.code
    assert record.created_at <= record.start_time <= record.end_time <= record.finish_time
    assert record.created_at.tzinfo
    with pytest.raises(NotFound):
        client.execution.get("no-such-run")


@calls(Execution.timing)
def timing(client, ended):
    assert client.execution.timing(ended.id).timing.executingJob > 0


@calls(Execution.metrics)
def metrics(client, ended):
    answer = client.execution.metrics(ended.id, step="5s")
    assert answer.executionId == ended.id
    assert all(point.timestamp.tzinfo for point in answer.systemCpuUsagePercent)


@calls(Execution.delete)
def delete(client, _):
    run = start(client, "pass")
    list(client.follow(run.execution_id))
    client.execution.delete(run.execution_id)
    with pytest.raises(NotFound):
        client.execution.get(run.execution_id)


@calls(Execution.abort_streaming)
def abort_streaming(client, _):
    run = sleeping(client)
    assert client.execution.abort_streaming(run).execution_id == run
    list(client.follow(run))
    assert client.execution.status(run).status == "aborted"


@calls(Execution.complete_streaming)
def complete_streaming(client, _):
    run = sleeping(client)
    assert client.execution.complete_streaming(run).execution_id == run
    list(client.follow(run))
    assert client.execution.status(run).status == "completed"


@calls(Stream.output)
def output(client, ended):
    *chunks, last = client.stream.output(ended.id)
    assert sorted("".join(chunk.content for chunk in chunks).splitlines()) == ["to err", "to out"]
    assert last == Finished(0)
    with pytest.raises(NotFound):
        next(client.stream.output("no-such-run"))


@calls(Workloads.list)
def unfinished(client, ended):
    run = sleeping(client)
    found = {workload.execution_id: workload for workload in client.workloads.list()}
    assert found[run].status == "running"
    assert ended.id not in found
    end(client, run)


@calls(Workloads.abort)
def abort(client, _):
    run = sleeping(client)
    assert end(client, run) == "aborted"


@calls(Workloads.stop)
def stop(client, _):
    run = sleeping(client)
    assert client.workloads.stop(run).execution_id == run
    list(client.follow(run))
    assert client.execution.status(run).status in {"completed", "cancelled"}


@calls(Logs.execution)
def logs(client, ended):
    answer = client.logs.execution(ended.id, limit=10, hours=1)
    assert sorted(entry.message.rstrip() for entry in answer) == ["to err", "to out"]
    assert answer.total == 2
    assert len(client.logs.execution(ended.id, limit=1)) == 1


@calls(Logs.user)
def logs_of_all_runs(client, ended):
    assert ended.id in {entry.execution_id for entry in client.logs.user(limit=5000)}


@calls(MachineTypes.list)
def machines(client, _):
    prices = {machine.hardware_profile: machine.price_per_hour for machine in client.machine_types.list()}
    assert prices["gpu.a100"] == Decimal("1.59")


@calls(Pricing.get)
def prices(client, _):
    book = client.pricing.get()
    assert len(book) > 0
    assert all(entry.unit_price >= 0 and entry.selector for entry in book)


@calls(User.status)
def me(client, _):
    assert client.user.status().email


@calls(User.org)
def my_org(client, _):
    assert client.user.org().slug


@calls(User.quotas)
def quotas(client, _):
    assert client.user.quotas().root["gpu.a100"] is True


@calls(User.available_hardware)
def available(client, _):
    assert "gpu.a100" in client.user.available_hardware().available_hardware_profiles


@calls(Billing.credits)
def balance(client, ended):
    spent = client.execution.get(ended.id).billed
    credit = client.billing.credits()
    assert credit.remaining_credits == credit.available_credits - credit.used_credits > 0
    assert credit.used_credits >= spent > 0


@calls(Billing.credits_details)
def balance_with_account(client, _):
    assert client.billing.credits_details().email == client.user.status().email


@calls(Billing.history)
def history(client, ended):
    for _ in range(2):
        list(client.follow(start(client, "pass").execution_id))
    first = client.billing.history(limit=2)
    assert len(first) == 2
    assert first.next_page().offset == 2
    everything = list(first.all())
    assert len(everything) == first.total_executions == len({run.execution_id for run in everything}) >= 3
    assert next(run for run in everything if run.execution_id == ended.id).billed > 0
    assert first.next_page().offset == 2


@calls(Orgs.balance)
def org_balance(client, ended):
    mine = client.user.org()
    answer = client.orgs.balance(mine.slug)
    assert answer.org_id == mine.org_id
    assert 0 < answer.balance <= client.billing.credits().available_credits - client.execution.get(ended.id).billed


@calls(Auth.refresh)
def refresh(client, _):
    query = sign_in(client.cloud)
    pair = client.auth.refresh(RefreshRequest(refresh_token=query["refresh_token"]))
    with Client(client.base_url, pair.access_token) as other:
        assert other.user.status() == client.user.status()
    with pytest.raises((BadRequest, Unauthorized)):
        client.auth.refresh(RefreshRequest(refresh_token=query["refresh_token"]))


def sign_in(cloud):
    """Sign in as a browser does, and return what the callback gets."""
    callback = {"callback": "http://localhost:1/callback"}
    answer = httpx.post(f"{cloud.base_url}/cli-login", params=callback, data={"ticket": cloud.ticket})
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


CALLS = gathered()


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.title)
def test_the_operation_does_on_the_local_cloud_what_its_name_says(endpoint, client, ended):
    client.called.clear()
    CALLS[endpoint](client, ended)
    assert endpoint in client.called


def test_a_session_is_renewed_against_the_local_cloud_and_goes_on(make_cloud):
    cloud = make_cloud("--access-seconds", "1")
    query, stored = sign_in(cloud), []
    with Client(
        cloud.base_url,
        query["token"],
        refresh_token=query["refresh_token"],
        on_refresh=lambda *pair: stored.append(pair),
    ) as client:
        assert client.user.status().email
        assert client.user.status().email
    _, renewed = stored[0]
    assert renewed != query["refresh_token"]
