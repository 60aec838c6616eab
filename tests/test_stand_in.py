"""The product against a stand-in of the cloud, which answers in other ways that the API allows."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from contextlib import closing, suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from threading import Event
from unittest.mock import ANY

import pytest
from api.scripted import ScriptedServer, answer
from localcloud.conftest import moment
from patience import PATIENCE
from stand_in import IDS, KEY, STREAM, StandIn, event, finished, said

from lk_jupyter import session
from lk_jupyter.account.api_keys import create_key, list_keys
from lk_jupyter.api import _creation, _polling
from lk_jupyter.api._audit import entries
from lk_jupyter.api.environment_variables import EnvironmentVariableInput
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.inference import CreateDeploymentRequest, Deployment
from lk_jupyter.api.logs import INCOMPLETE
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.serverless import ChatCompletionParameters, ChatMessage
from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.cli import main
from lk_jupyter.code.source import Source
from lk_jupyter.errors import (
    ApiError,
    Invalid,
    InvalidResponse,
    LkError,
    OutcomeUnknown,
    RateLimited,
    RunAborted,
    RunFailed,
    ServerError,
    StorageError,
    UsageError,
)
from lk_jupyter.inference import chat_target, deploy
from lk_jupyter.inference.batch import Job, Work
from lk_jupyter.inference.batch_answers import parse_outcomes
from lk_jupyter.inference.batch_file import RowFailure, open_batch_file
from lk_jupyter.inference.catalogue import ModelOffer, TokenPrices
from lk_jupyter.inference.chat_target import DeploymentTarget, find_answerer
from lk_jupyter.inference.embed import embed
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics import runs, select
from lk_jupyter.magics._output.live import StatusLine
from lk_jupyter.magics._output.run_status import receipt
from lk_jupyter.magics.vms import vm_row
from lk_jupyter.options.runs import RunOptions, ServerOptions
from lk_jupyter.runs import abort, follow
from lk_jupyter.runs.notebooks import servers
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.runs.notebooks.servers import start_server, stop_server
from lk_jupyter.runs.observers.base import ObserverGroup
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.views import run as views
from lk_jupyter.views.run import receipt_facts
from lk_jupyter.vms import vms
from lk_jupyter.vms.offers import VmShape, choose_offer, list_offers
from lk_jupyter.vms.ssh import SshEndpoint

ID = IDS[0]
LOST = ()


@pytest.fixture
def cloud(monkeypatch):
    """A stand-in that is looked at without pauses."""
    for module, name in ((_creation, "LOOK_PAUSE"), (deploy, "PACE")):
        monkeypatch.setattr(module, name, 0)
    for module in (follow, vms):
        monkeypatch.setattr(module, "PAUSES", (0.0,))
    monkeypatch.setattr(follow, "NEW_SECONDS", 0.2)
    found = StandIn()
    yield found
    found.close()


@pytest.fixture
def connected(cloud, home):
    with session.connect(cloud.url, KEY) as found:
        yield found


def open_run(connected, **options):
    return connected.run("print('hello')", gpu="A100", **options)


def ends_with(run, code):
    """Hold that a run ends with this exit code, which is an error unless it is 0."""
    if code:
        with pytest.raises(RunFailed, match=f"exit code {code}"):
            run.result(timeout=PATIENCE)
    else:
        assert run.result(timeout=PATIENCE).return_code == 0


# Starts that cost


@pytest.mark.parametrize("lost", [LOST, (502, {}), (504, {}), (202, {"message": "queued"}), (500, {"detail": "boom"})])
def test_a_run_whose_start_is_not_answered_is_found_and_sent_once(cloud, connected, lost):
    cloud.on("POST /execution/streaming/start", lambda request: [cloud.taken(request), lost][1])
    assert open_run(connected).execution_id == ID
    assert cloud.calls["POST /execution/streaming/start"] == 1


def test_a_lost_start_is_unknown_in_the_journal_too(cloud, connected):
    cloud.echoed = ()
    cloud.on("POST /execution/streaming/start", lambda request: [cloud.taken(request), LOST][1])
    with pytest.raises(OutcomeUnknown, match="not sent again"):
        open_run(connected)
    assert cloud.calls["POST /execution/streaming/start"] == 1
    (entry,) = journal().entries()
    assert entry.state == "submitting"


@pytest.mark.parametrize("kind", ["image", "compose"])
def test_a_container_whose_start_is_not_answered_is_found_by_its_name(cloud, connected, kind):
    cloud.echoed = ("file_name",)
    cloud.on(f"POST /execution/{kind}/start", lambda request: [cloud.taken(request), LOST][1])
    stack = "services:\n  a:\n    image: python:3.11\n"
    run = connected.run_image("python:3.11", "true", gpu="A100") if kind == "image" else connected.run_compose(
        stack, gpu="A100"
    )  # fmt: skip
    assert run.execution_id == ID
    assert cloud.calls[f"POST /execution/{kind}/start"] == 1


def rent(connected, name="train"):
    wish = VmShape("a100", 2, "on-demand", None)
    offer = choose_offer(list_offers(connected.client.vms.availability()), wish)
    request = vms.request_for(wish, "ssh-ed25519 AAAA", name, [], move=False)
    return vms.create_once(connected.client, request, offer)


@pytest.mark.parametrize("lost", [LOST, (502, {}), (500, {"detail": "boom"}), (201, "created"), (204, "")])
def test_a_vm_whose_request_is_not_answered_is_found_and_asked_for_once(cloud, connected, lost):
    cloud.on("POST /vms/create", lambda request: [cloud._rented(request), lost][1])
    assert rent(connected).vm_id == ID.replace("-", "")
    assert cloud.calls["POST /vms/create"] == 1


@pytest.mark.parametrize("user_id", [None, "another-user"])
def test_a_vm_of_the_same_name_that_may_be_a_members_is_reported_and_not_used(cloud, connected, user_id):
    cloud.on("POST /vms/create", lambda request: [cloud._rented(request).update(user_id=user_id), (504, {})][1])
    with pytest.raises(OutcomeUnknown, match=f"New since then: {ID.replace('-', '')}"):
        rent(connected)
    assert cloud.calls["POST /vms/create"] == 1


def test_a_vm_that_no_list_names_is_unknown_and_not_asked_for_again(cloud, connected):
    cloud.on("POST /vms/create", LOST)
    with pytest.raises(OutcomeUnknown, match=r"may exist and be billed[\s\S]*%lk_vm list"):
        rent(connected)
    assert cloud.calls["POST /vms/create"] == 1


def test_a_cloud_without_a_free_machine_charges_nothing_and_says_so(cloud, connected):
    cloud.on("POST /vms/create", (500, {"detail": "The instance could not be provisioned right now. Try again later."}))
    with pytest.raises(ServerError, match="Nothing was rented or charged"):
        rent(connected)
    assert cloud.calls["POST /vms/create"] == 1


@pytest.mark.parametrize("lost", [LOST, (503, {}), (202, {}), (500, {"detail": "boom"})])
def test_a_deployment_whose_request_is_not_answered_is_found_and_asked_for_once(cloud, connected, lost):
    cloud.on("POST /inference/create", lambda request: [cloud.deployed(request), lost][1])
    made = deploy.create_once(connected.client, CreateDeploymentRequest(hf_model_id="local/echo"))
    assert made.deployment_id == ID
    assert cloud.calls["POST /inference/create"] == 1


def test_a_deployment_that_no_list_has_is_unknown_and_not_asked_for_again(cloud, connected):
    cloud.on("POST /inference/create", LOST)
    with pytest.raises(OutcomeUnknown, match=r"may exist and be billed[\s\S]*%lk_deployments"):
        deploy.create_once(connected.client, CreateDeploymentRequest(hf_model_id="local/echo"))
    assert cloud.calls["POST /inference/create"] == 1


@pytest.mark.parametrize("variables", [7, True, "zorp", {"name": 7}])
def test_an_odd_answer_to_a_change_is_recorded_and_ends_in_no_error_of_the_audit_log(cloud, connected, variables):
    cloud.on("POST /environment-variables/", {"environment_variables": variables})
    with suppress(LkError):
        connected.client.environment_variables.upsert(EnvironmentVariableInput(name="TOKEN", value="a"))
    assert [row["target"] for row in entries()] == ["TOKEN"]


def test_a_selection_of_an_unknown_word_that_no_list_has_is_waited_for_no_more(cloud, connected):
    cloud.on("GET /execution/gpu_selection/{}/status", {"status": "zorp"})
    cloud.on("GET /execution/{}", {"execution_id": ID, "status": "zorp"})
    status = select._follow_selection(connected.client, ID, None)
    assert status.status == "zorp"


# Ends in other words


@pytest.mark.parametrize("word", ["succeeded", "Done", "SUCCESS", "complete", "finished", "Completed"])
def test_a_run_that_ends_in_another_word_for_success_ended_well(cloud, connected, word):
    cloud.word = word
    assert open_run(connected).result(timeout=PATIENCE).execution_id == ID


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("canceled", RunAborted),
        ("CANCELLED", RunAborted),
        ("killed", RunAborted),
        ("error", RunFailed),
        ("timed out", RunFailed),
        ("TIMEOUT", RunFailed),
        ("OOMKilled", RunFailed),
    ],
)
def test_a_run_that_ends_in_another_word_for_a_failure_failed(cloud, connected, word, error):
    cloud.word = word
    with pytest.raises(error):
        open_run(connected).result(timeout=PATIENCE)


END = "2026-06-02T09:15:03Z"


@pytest.mark.parametrize("facts", [{"end_time": END}, {"return_code": 0}, {"finish_time": END}, {"exitCode": 0}])
def test_a_word_that_nobody_knows_is_an_end_once_the_record_has_one(cloud, connected, facts):
    cloud.word, cloud.record = "zorp", facts
    assert open_run(connected).result(timeout=PATIENCE).execution_id == ID


@pytest.mark.parametrize("facts", [{"return_code": 3}, {"end_time": END, "system_errors": ["node lost"]}])
def test_a_word_that_nobody_knows_is_a_failure_where_the_record_has_one(cloud, connected, facts):
    cloud.word, cloud.record = "zorp", facts
    with pytest.raises(RunFailed, match=r"exit code 3|zorp: node lost"):
        open_run(connected).result(timeout=PATIENCE)


@pytest.mark.parametrize("code", [0, 2])
def test_a_word_that_nobody_knows_is_decided_by_the_end_of_the_stream(cloud, connected, code):
    cloud.word, cloud.stream = "zorp", (STREAM, said("hi\n"), finished(returnCode=code))
    cloud.on("GET /workloads/list", lambda _: [{"execution_id": ID, "status": "zorp"}])
    run = open_run(connected)
    assert [event.content for event in list(run.follow())[:-1]] == ["hi\n"]
    ends_with(run, code)


@pytest.mark.parametrize("stream", [(404, {"detail": "Not Found"}), (STREAM, said("hi\n"))], ids=["none", "cut"])
def test_a_run_of_an_unknown_word_that_is_listed_no_more_is_not_waited_for(cloud, connected, stream):
    cloud.word, cloud.stream = "zorp", stream
    run = open_run(connected)
    list(run.follow())
    assert run.wait(timeout=PATIENCE).execution_id == ID


def test_a_run_of_an_unknown_word_that_stays_listed_ends_with_its_stream(cloud, connected):
    cloud.word, cloud.stream = "zorp", (STREAM, said("hi\n"), finished(returnCode=0))
    cloud.on("GET /workloads/list", lambda _: [{"execution_id": ID, "status": "zorp"}])
    assert open_run(connected).wait(timeout=PATIENCE).execution_id == ID


def test_a_cut_stream_ends_no_run_of_an_unknown_word_that_stays_listed(cloud, connected):
    cloud.word, cloud.stream = "zorp", (STREAM, said("hi\n"))
    cloud.on("GET /workloads/list", [{"execution_id": ID, "status": "zorp"}])
    with pytest.raises(TimeoutError):
        open_run(connected).wait(timeout=1)


@pytest.mark.parametrize(("word", "error"), [("aborted", RunAborted), ("failed", RunFailed)])
def test_a_state_that_the_record_lacks_is_read_from_the_status(cloud, connected, word, error):
    cloud.on("GET /execution/streaming/{}/status", {"status": word})
    cloud.on("GET /execution/{}", {"execution_id": ID, "end_time": END, "return_code": 0})
    with pytest.raises(error):
        open_run(connected).result(timeout=PATIENCE)


def test_a_run_that_waits_in_an_unknown_word_is_waited_for(cloud, connected):
    cloud.word = "warming up"
    cloud.on("GET /workloads/list", lambda _: [{"execution_id": ID, "status": "warming up"}])
    cloud.on("POST /stream/{}", (404, {"detail": "Stream not found"}))
    with pytest.raises(TimeoutError):
        open_run(connected).wait(timeout=1.5)


def test_a_run_without_a_word_ends_with_its_stream(cloud, connected):
    cloud.on("GET /execution/streaming/{}/status", {})
    cloud.on("GET /execution/{}", lambda _: {"id": ID})
    run = open_run(connected)
    list(run.follow())
    assert run.result(timeout=PATIENCE).execution_id == ID


# Why the platform failed


@pytest.mark.parametrize("word", ["failed", "system_failure", "zorp"])
def test_the_platforms_reason_is_in_the_error_and_in_the_history(cloud, connected, word):
    cloud.word, cloud.stream = word, (STREAM, finished(error="container could not start"))
    run = open_run(connected)
    list(run.follow())
    with pytest.raises(RunFailed, match="container could not start"):
        run.result(timeout=PATIENCE)
    assert "container could not start" in journal().get(ID).reason
    assert receipt_facts(run.record, run)["reason"] == "container could not start"


MACHINES = [("gpu.a100", 1.59), ("gpu.h100", 3.18)]


@pytest.mark.parametrize(
    ("profile", "machine", "words"),
    [
        ("gpu.h100", "H100 at 3.18 credits/h", "the request was for A100"),
        ("gpu.b200", "B200", "the request was for A100"),
        ("NVIDIA A100-SXM4-80GB", "A100 at 1.59 credits/h", ""),
        ("A100", "A100 at 1.59 credits/h", ""),
        (None, "A100 at 1.59 credits/h", ""),
    ],
)
def test_a_receipt_has_the_machine_of_the_record_and_names_a_difference_from_the_request(
    cloud, connected, profile, machine, words
):
    rows = [{"hardware_profile": name, "price_per_hour": price} for name, price in MACHINES]
    cloud.on("GET /machine-types", {"machine_types": rows})
    cloud.record = {"hardware_profile": profile}
    run = open_run(connected)
    run.result(timeout=PATIENCE)
    line = receipt(run.record, run)
    assert line.facts[0] == machine
    assert ("the request was for" in str(line)) is bool(words)
    assert words in str(line)
    facts = receipt_facts(run.record, run)
    assert facts.get("requested_machine") == ("gpu.a100" if words else None)
    assert facts["machine"] == (profile or "gpu.a100")


@pytest.mark.parametrize(("billed", "exceeds"), [("0.5", True), ("0.001", False), (None, False)])
def test_a_bill_above_the_quote_is_shown_in_the_receipt_its_text_and_the_line_of_the_command(
    cloud, connected, capsys, billed, exceeds
):
    cloud.record = {"billed": billed, "start_time": "2026-06-02T09:15:00Z", "end_time": END}
    words = "above the quote of at most 0.0269 credits"
    run = open_run(connected, timeout=60)
    run.result(timeout=PATIENCE)
    line = receipt(run.record, run)
    assert (words in str(line), words in line._render_html(), words in str(line.run["told"])) == (exceeds,) * 3
    assert ("quote" in receipt_facts(run.record, run)) is exceeds
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LK_API_KEY", KEY)
        environment.setenv("LK_BASE_URL", cloud.url)
        main(["wait", run.execution_id, "--json"])
        record = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert ("quote" in record, "difference" in record) == (exceeds, exceeds)
        main(["wait", run.execution_id])
        assert (words in capsys.readouterr().err) is exceeds


# Lists with odd rows


def test_an_odd_row_leaves_the_others_and_is_said_once(cloud, connected, caplog):
    rows = [{"execution_id": ID, "created_at": END}, {"status": "completed"}, 7, None, {"executionId": IDS[1]}]
    cloud.on("GET /billing/history", {"executions": rows, "total_executions": None})
    with caplog.at_level(logging.WARNING, "lk_jupyter"):
        for _ in range(2):
            assert [run.execution_id for run in connected.client.billing.history()] == [ID, IDS[1]]
    (record,) = caplog.records
    assert "3 rows can't be read" in record.getMessage()


@pytest.mark.parametrize("rows", [[7], [None, {}], [{"status": "ready"}]])
def test_a_list_of_which_no_row_can_be_read_is_not_taken_for_an_empty_list(cloud, connected, rows):
    cloud.on("GET /vms/list", {"vms": rows}).on("GET /workloads/list", rows)
    for read in (connected.client.vms.list, connected.client.workloads.list):
        with pytest.raises(InvalidResponse):
            read()


@pytest.mark.parametrize("duration", ["1e999", "NaN", "Infinity", "1" + "0" * 400])
def test_a_number_that_no_clock_can_show_is_unknown(cloud, connected, duration):
    cloud.on("GET /execution/{}/timing", (200, f'{{"timing": {{"total": {duration}, "queued": 7}}}}'))
    timing = connected.client.execution.timing(ID).timing
    assert (timing.total, timing.queued) == (None, 7)


def test_a_deployment_whose_time_limit_no_clock_can_show_is_waited_for(cloud, connected):
    serving = {"deployment_id": ID, "status": "created", "replicas": [{"replica_id": "r", "healthy": True}]}
    cloud.on("GET /inference/get", serving)
    assert [deploy.has_serving_replica(each) for each in deploy.follow_start(connected, ID, 10**400)] == [True]


@pytest.mark.parametrize("endpoint", ["http://[", "https://a:b", "http://127.0.0.1:99999", "http://localhost:1" * 2000])
def test_a_storage_address_that_is_not_valid_is_a_line(cloud, connected, endpoint):
    keys = {"access_key": "a", "secret_key": "b", "bucket_name": "c", "endpoint": endpoint}
    cloud.on("POST /storage/credentials", keys)
    with pytest.raises(StorageError, match=r"storage address '.{1,100}' isn't valid. Nothing was sent"):
        connected.storage.info("a.txt")


@pytest.mark.parametrize("error", [InvalidResponse("x" * 70_000), ApiError(400, "x" * 70_000)])
def test_a_long_text_of_the_server_is_cut_in_the_message(error):
    assert 900 < max(map(len, str(error).splitlines())) < 1100


def test_pages_without_a_count_are_read_to_their_end(cloud, connected):
    pages = [[{"execution_id": each} for each in IDS[:2]], [{"execution_id": IDS[2]}]]
    cloud.on("GET /billing/history", lambda request: {"executions": pages["offset=2" in request.path]})
    assert [run.execution_id for run in connected.client.billing.history(limit=2).all()] == IDS[:3]


def test_a_server_that_gives_the_same_page_for_ever_is_read_once(cloud, connected):
    cloud.on("GET /billing/history", {"executions": [{"execution_id": each} for each in IDS[:2]]})
    assert [run.execution_id for run in connected.client.billing.history(limit=2).all()] == IDS[:2]


def test_pages_that_go_round_in_circles_are_read_once_though_a_cost_in_them_changes(cloud, connected):
    costs = iter(range(100))

    def page(request):
        each = IDS["offset=1" in request.path or "offset=3" in request.path]
        return {"executions": [{"execution_id": each, "billed": next(costs)}]}

    cloud.on("GET /billing/history", page)
    assert [run.execution_id for run in connected.client.billing.history(limit=1).all()] == IDS[:2]


def test_batches_whose_cursor_leads_back_are_listed_once(cloud, connected):
    pages = {True: [IDS[1]], False: [IDS[0]]}
    cloud.on(
        "GET /batches",
        lambda request: {
            "data": [{"id": each} for each in pages[f"after={IDS[0]}" in request.path]],
            "has_more": True,
        },
    )
    assert [batch.id for batch in connected.client.batches.list().all()] == IDS[:2]


def test_a_price_book_without_a_count_prices_the_models(cloud, connected):
    price = {"meter_slug": "vm_running", "applies_to": {"hardware_profile": "on-demand.a100.1x"}}
    prices = {"unit_price": "0.00044167", "unit_price_per_hour": "1.59001200", "unit": "second", "resource": "vm"}
    cloud.on("GET /pricing", {"prices": [{**price, **prices}]})
    (entry,) = connected.client.pricing.get()
    assert str(entry.unit_price_per_hour) == "1.59001200"


@pytest.mark.parametrize(
    "reply", [(200, {"message": "ok"}), (202, ""), (204, ""), (200, "done"), (200, "null"), (200, '"aborted"')]
)
def test_any_success_of_an_abort_ends_it(cloud, connected, reply):
    cloud.on("POST /workloads/abort/{}", reply)
    open_run(connected).abort()
    assert cloud.calls["POST /workloads/abort/{}"] == 1


def test_events_of_a_stream_in_other_forms_are_read(cloud, connected):
    cloud.stream = (STREAM, event({"type": "output", "content": "old\n"}), event({"type": "completed"}))
    run = open_run(connected)
    assert [each.content for each in list(run.follow())[:-1]] == ["old\n"]
    assert run.result(timeout=PATIENCE)


def test_a_negative_price_or_bill_is_unknown_and_frees_no_budget(cloud, connected):
    cloud.on("GET /machine-types", {"machine_types": [{"hardware_profile": "gpu.a100", "price_per_hour": -1.59}]})
    cloud.record = {"billed": -7, "start_time": END, "end_time": END}
    run = open_run(connected)
    assert run.result(timeout=PATIENCE).cost is None
    assert run.machine.price_per_hour is None
    with pytest.raises(UsageError, match="no published price"):
        open_run(connected, max_cost=1)


# Machines as the live service answers


def listed(cloud, **facts):
    """Let the cloud list one more machine."""
    vm_id = IDS[len(cloud.vms)]
    row = {"vm_id": vm_id, "status": "ready", "created_at": "2026-07-31T09:14:03", "ip_address": None, **facts}
    cloud.vms[vm_id] = row
    return row


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("203.0.113.10", "ssh lyceum@203.0.113.10"),
        ("198.51.100.20:22", "ssh lyceum@198.51.100.20"),
        ("198.51.100.20:2222", "ssh -p 2222 lyceum@198.51.100.20"),
        ("2001:db8::1", "ssh lyceum@2001:db8::1"),
        ("[2001:db8::1]:2222", "ssh -p 2222 lyceum@2001:db8::1"),
        ("gpu-7.example.com:22", "ssh lyceum@gpu-7.example.com"),
        ("ssh://lyceum@203.0.113.10:2222/", "ssh -p 2222 lyceum@203.0.113.10"),
        (" ubuntu@203.0.113.10 ", "ssh lyceum@203.0.113.10"),
        ("ssh://[2001:db8::1]:2222", "ssh -p 2222 lyceum@2001:db8::1"),
    ],
)
def test_the_user_of_a_vm_is_lyceum_at_its_host_and_port(address, line):
    assert SshEndpoint.of(address).ssh_command(None) == line


@pytest.mark.parametrize(
    "address",
    ["-oProxyCommand=id", "host\n  ProxyCommand id", "a b", "$(id)", "a;id", "[::1", ":", "ssh://-oProxyCommand=id"],
)
def test_what_is_no_address_becomes_no_part_of_a_command(address):
    with pytest.raises(InvalidResponse, match="invalid address of the VM"):
        SshEndpoint.of(address)


def test_a_vm_that_is_ready_without_an_address_is_waited_for(cloud, connected):
    row = listed(cloud)
    answers = iter([None, None, "203.0.113.10"])
    cloud.on("GET /vms/{}/status", lambda _: {**row, "ip_address": next(answers)})
    states = list(vms.poll_states(connected.client, row["vm_id"]))
    assert [status.usable for status in states] == [False, False, True]


def test_the_number_of_gpus_is_sent_where_the_service_reads_it(cloud, connected):
    rent(connected)
    (sent,) = cloud.bodies["POST /vms/create"]
    assert sent["instance_specs"] == {"gpu_count": 2}
    assert "gpu_count" not in sent
    assert sent["instance_type"] == "on-demand"


@pytest.mark.parametrize("count", [0, 3, 5, 16, -1])
def test_a_number_of_gpus_that_is_not_sold_is_refused_before_it_is_sent(cloud, connected, count):
    client, facts = connected.client, {"user_public_key": "ssh-ed25519 AAAA", "hardware_profile": "a100"}
    with pytest.raises(UsageError, match=rf"must be 1, 2, 4 or 8, got '{count}'\. Nothing was sent"):
        client.vms.create(CreateVMRequest(instance_specs={"gpu_count": count}, **facts))
    assert not cloud.calls


def test_a_number_of_gpus_at_the_top_level_is_refused_since_the_service_ignores_it(cloud, connected):
    request = CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100", gpu_count=8)
    with pytest.raises(UsageError, match="outside instance_specs is ignored"):
        connected.client.vms.create(request)
    assert not cloud.calls


def test_a_spot_machine_that_is_reclaimed_is_waited_for_no_more_and_lives_no_more(cloud, connected):
    row = listed(cloud, instance_type="spot")
    words = iter(["ready", "ready", "terminated"])
    cloud.on("GET /vms/{}/status", lambda _: {**row, "status": next(words)})
    assert [status.status for status in vms.poll_states(connected.client, row["vm_id"])] == [
        "ready",
        "ready",
        "terminated",
    ]
    cloud.vms[row["vm_id"]]["status"] = "terminated"
    assert vms.active_vms(connected.client) == []


@pytest.mark.parametrize("text", [ID, ID.replace("-", ""), ID[:8], ID.replace("-", "")[:13], ID.upper()])
@pytest.mark.parametrize("dashed", [True, False])
def test_the_id_of_a_vm_means_it_with_dashes_and_without(cloud, connected, text, dashed):
    listed(cloud, vm_id=ID if dashed else ID.replace("-", ""))
    assert vms.find_vm(connected.client, text).vm_id.replace("-", "") == ID.replace("-", "")


def test_a_vm_with_nulls_at_the_top_level_is_shown_by_its_specs(cloud, connected):
    made = rent(connected)
    assert (made.hardware_profile, made.gpu_count, made.ip_address) == (None, None, None)
    assert vm_row(made)[3] == "2 A100"
    assert made.created_at.utcoffset() == timedelta(0)


def test_a_name_means_the_machine_that_lives_and_not_one_that_has_ended(cloud, connected):
    listed(cloud, display_name="train", status="terminated")
    living = listed(cloud, display_name="train")
    listed(cloud, display_name="train-2")
    assert vms.find_vm(connected.client, "train").vm_id == living["vm_id"]


@pytest.mark.parametrize("name", ["trai", "TRAIN", "train-"])
def test_names_are_compared_exactly(cloud, connected, name):
    listed(cloud, display_name="train")
    with pytest.raises(UsageError, match="VM '"):
        vms.find_vm(connected.client, name)


def test_machines_that_have_ended_are_not_among_those_that_live(cloud, connected):
    for status in ("terminated", "failed", "error", "Terminated"):
        listed(cloud, status=status, display_name="old")
    odd = listed(cloud, status="resizing")
    assert [each.vm_id for each in vms.active_vms(connected.client)] == [odd["vm_id"]]


def test_an_offer_with_nothing_free_is_no_offer_that_is_missing(cloud, connected):
    facts = {"hardware_profile": "a100", "price_per_hour": 1.59, "allowed_gpus_per_instance": [1]}
    rows = [{**facts, "instance_type": "on-demand", "available_gpus_per_instance": []}]
    cloud.on("GET /vms/availability", {"available_instance_variants": rows, "available_hardware_profiles": None})
    offers = list_offers(connected.client.vms.availability())
    assert [offer.free for offer in offers] == [False]
    with pytest.raises(UsageError, match="isn't sold as spot"):
        choose_offer(offers, VmShape("a100", 1, "spot"))
    with pytest.raises(UsageError, match="No VM with H100"):
        choose_offer(offers, VmShape("h100"))


def test_unsorted_offers_are_sorted_by_their_price(connected):
    offers = list_offers(connected.client.vms.availability())
    assert [offer.per_hour for offer in offers] == sorted(offer.per_hour for offer in offers)
    assert choose_offer(offers, VmShape("h100", 8)).per_hour == Decimal("22.32")


# What servers pick, hold and allow


def test_a_deployment_is_asked_for_by_the_type_of_its_gpu_where_the_server_takes_only_that(cloud, connected):
    def picky(request):
        if "hardware_profile" in request.json:
            return 422, {"detail": [{"loc": ["body", "gpu_type"], "msg": "Field required"}]}
        return cloud.deployed(request)

    cloud.on("POST /inference/create", picky)
    request = CreateDeploymentRequest(hf_model_id="local/echo", hardware_profile="gpu.a100", gpu_count=1)
    assert deploy.create_once(connected.client, request).deployment_id == ID
    assert cloud.bodies["POST /inference/create"][1]["gpu_type"] == "a100"


def test_a_deployment_that_is_refused_for_another_reason_is_asked_for_once(cloud, connected):
    cloud.on("POST /inference/create", (422, {"detail": "hf_model_id: unknown model"}))
    with pytest.raises(Invalid):
        deploy.create_once(connected.client, CreateDeploymentRequest(hf_model_id="x", hardware_profile="gpu.a100"))
    assert cloud.calls["POST /inference/create"] == 1


def test_a_deployment_that_names_only_the_type_of_its_gpu_has_its_profile(cloud, connected):
    cloud.on("GET /inference/list", {"deployments": [{"id": ID, "gpu_type": "H100"}]})
    (found,) = connected.client.inference.list()
    assert (found.deployment_id, found.hardware_profile) == (ID, "gpu.h100")


CAP = {"loc": ["body", "timeout"], "msg": "Input should be less than or equal to 600", "type": "less_than_equal"}


def test_a_hosted_server_has_the_longest_time_that_the_cloud_allows(cloud, connected, monkeypatch):
    monkeypatch.setenv("LK_MAX_TIMEOUT", "3600")
    cloud.on(
        "POST /execution/image/start",
        lambda request: (422, {"detail": [CAP]}) if request.json["timeout"] > 600 else {"id": cloud.taken(request)},
    )
    assert start_server(connected, ServerOptions(gpu="A100")).execution_id == ID
    assert [sent["timeout"] for sent in cloud.bodies["POST /execution/image/start"]] == [3600, 600]


@pytest.mark.parametrize("reply", [(500, {"detail": "boom"}), (403, {"detail": "no"}), LOST])
def test_a_machine_that_cannot_be_ended_after_a_failure_is_named_with_what_ends_it(
    cloud, connected, monkeypatch, reply
):
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", 0.0)
    monkeypatch.setattr(abort, "PATIENCE", 0.0)
    cloud.on("GET /execution/streaming/{}/status", (401, {"detail": "expired"}))
    cloud.on("POST /workloads/stop/{}", reply).on("POST /workloads/abort/{}", reply)
    with pytest.raises(ApiError, match=rf"expired[\s\S]*may still be active[\s\S]*%lk_abort {ID}"):
        HostedKernel.start(connected, ServerOptions(gpu="A100"), Event())
    assert cloud.calls["POST /workloads/abort/{}"]


def test_a_machine_that_is_wanted_no_more_is_ended_though_its_state_cannot_be_read(cloud, connected):
    unwanted = Event()

    def unknown(_):
        unwanted.set()
        return 404, {"detail": "Execution not found"}

    cloud.on("GET /execution/streaming/{}/status", unknown).on("POST /workloads/stop/{}", {"message": "ok"})
    cloud.on("GET /execution/{}", unknown)
    with pytest.raises(UsageError, match="Stopped waiting for the kernel"):
        HostedKernel.start(connected, ServerOptions(gpu="A100"), unwanted)
    assert cloud.calls["POST /workloads/stop/{}"] == 1


@pytest.mark.parametrize(
    "reply", [(404, {"detail": "Not Found"}), (405, {"detail": "Method Not Allowed"}), (202, ""), (200, {})]
)
def test_a_machine_that_does_not_end_as_it_is_asked_to_is_aborted(cloud, connected, monkeypatch, reply):
    cloud.word = "running"
    run = start_server(connected, ServerOptions(gpu="A100"))
    monkeypatch.setattr(servers, "_GRACE", 0.1)

    def ends(_):
        cloud.word = "aborted"
        return 200, {}

    cloud.on("POST /workloads/stop/{}", reply).on("POST /workloads/abort/{}", ends)
    stop_server(run)
    assert run.wait(timeout=PATIENCE).status == "aborted"
    assert cloud.calls["POST /workloads/abort/{}"] == 1


@pytest.mark.parametrize(
    "odd", ["<html>Starting your server</html>", "", "null", "{}", '{"message": "ok"}', '[{"name": "python3"}]', "[7]"]
)
def test_an_odd_answer_of_a_jupyter_server_is_an_error_of_ours(odd):
    with closing(ScriptedServer()) as server, closing(HostedServer(f"{server.url}/", "password")) as hosted:
        server.reply(answer(200, odd, "text/plain"))
        assert not hosted.is_ready()
        page = answer(200, "", "text/html", Set_Cookie="_xsrf=1")
        login = [answer(403, "{}", "text/plain"), page, answer(302, "", "text/html", Location="/")]
        for response in (*login, *[answer(200, odd, "text/plain")] * 4):
            server.reply(response)
        assert not hosted.is_ready()
        with pytest.raises(InvalidResponse, match="contains no kernel"):
            hosted.has_kernel("k")
        with pytest.raises(InvalidResponse, match="contains no kernel"):
            hosted.start_kernel()


def test_a_router_that_is_no_model_is_asked_which_model_it_means(cloud, connected):
    chat = "POST /serverless/chat/completions"
    chunk = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'
    cloud.on("GET /serverless/models", {"data": [{"id": "z-ai/glm-5.2"}]}).on("GET /pricing", {"prices": []})
    cloud.on("POST /serverless/route", {"model": "z-ai/glm-5.2"})
    cloud.on(chat, lambda request: (STREAM, chunk) if "glm" in request.json["model"] else (404, {"detail": "no model"}))
    asked = ChatCompletionParameters(messages=[ChatMessage(role="user", content="hello")])
    assert [piece.text for piece in find_answerer(connected, "lyceum/router").ask(asked)] == ["hi"]
    assert [sent["model"] for sent in cloud.bodies[chat]] == ["lyceum/router", "z-ai/glm-5.2"]


def test_runs_that_share_a_working_folder_share_no_file(cloud, connected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("one", "two"):
        Path("helper.py").write_text(f"said = {text!r}\n")
        Path("data.csv").write_text(text)
        connected.run("import helper\nprint(helper.said, open('data.csv').read())", gpu="A100", files=["data.csv"])
    work = tmp_path / "work"
    sent = list(cloud.runs.values())
    for each in sent:
        for name, text in {**json.loads(each["import_files"]), each["file_name"]: each["code"]}.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
    runs = [
        subprocess.run([sys.executable, each["file_name"]], cwd=work, capture_output=True, check=True) for each in sent
    ]
    assert [run.stdout.decode() for run in runs] == ["one one\n", "two two\n"]


@pytest.mark.parametrize(("word", "label"), [("system_failure", "platform failure"), ("failed_user", "failed")])
def test_a_state_is_shown_as_people_read_it(word, label):
    assert str(StatusLine(word, [])).strip() == f"✗ {label}"


def redirected(status, reply):
    """Return a script that redirects a request once, to the same address with a mark, and then replies."""

    def script(request):
        if "moved=1" in request.path:
            return reply(request) if callable(reply) else reply
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {request.path}?moved=1\r\nConnection: close\r\n\r\n"
        return (head.encode(),)

    return script


def test_redirects_on_the_same_server_are_followed_and_nothing_is_started_twice(cloud, connected):
    cloud.on("POST /execution/streaming/start", redirected(307, lambda request: {"execution_id": cloud.taken(request)}))
    cloud.on("GET /execution/{}", redirected(302, lambda _: cloud._row(ID)))
    cloud.on("POST /stream/{}", redirected(308, cloud.stream))
    run = open_run(connected)
    assert [event.content for event in list(run.follow())[:-1]] == ["hello\n"]
    assert run.result(timeout=PATIENCE).execution_id == ID
    assert len(cloud.runs) == 1


@pytest.mark.parametrize("status", [301, 303])
def test_a_start_that_would_become_another_request_is_not_redirected(cloud, connected, status):
    cloud.on("POST /execution/streaming/start", redirected(status, lambda request: pytest.fail(request.method)))
    with pytest.raises(OutcomeUnknown, match="a redirect"):
        open_run(connected)
    assert cloud.calls["POST /execution/streaming/start"] == 1


def test_the_key_follows_no_redirect_to_another_server(cloud, connected):
    other = StandIn()
    try:
        head = f"HTTP/1.1 307 Moved\r\nLocation: {other.url}/machine-types\r\nConnection: close\r\n\r\n"
        cloud.on("GET /machine-types", (head.encode(),))
        with pytest.raises(InvalidResponse, match="a redirect"):
            connected.client.machine_types.list()
        assert not other.calls
    finally:
        other.close()


@pytest.mark.parametrize("status", [400, 401, 403, 410, 422])
def test_a_run_whose_stream_is_refused_is_followed_by_its_record(cloud, connected, status):
    cloud.stream, cloud.record = (status, {"detail": "Not authenticated"}), {"stdout": "hello\n"}
    run = open_run(connected)
    assert [event.content for event in list(run.follow())[:-1]] == ["hello\n"]
    assert run.result(timeout=PATIENCE).execution_id == ID


@pytest.mark.parametrize("status", [401, 403, 418])
def test_a_refusal_in_the_middle_is_waited_out_and_the_run_is_named(cloud, connected, monkeypatch, status):
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", PATIENCE)
    run = open_run(connected)
    refusals = [(status, {"detail": "expired"})] * 3
    cloud.on("GET /execution/streaming/{}/status", lambda _: refusals.pop() if refusals else {"status": "completed"})
    assert run.result(timeout=PATIENCE).execution_id == ID
    assert not refusals

    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", 0.0)
    run = open_run(connected)
    cloud.on("GET /execution/streaming/{}/status", (status, {"detail": "expired"}))
    with pytest.raises(ApiError, match=rf"expired[^$]*\n.*still active.*%lk_wait {run.short_id}"):
        run.result(timeout=PATIENCE)


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("record", [(404, {"detail": "Execution not found"}), (500, "<p>x</p>"), (204, ""), {}])
def test_a_record_that_cannot_be_read_leaves_the_word_to_the_stream(cloud, connected, monkeypatch, record, code):
    monkeypatch.setattr(follow, "UNREADABLE", 0.0)
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", PATIENCE)
    cloud.stream = (STREAM, said("hello\n"), finished(returnCode=code))
    cloud.on("GET /execution/{}", record)
    run = open_run(connected)
    assert [event.content for event in list(run.follow())[:-1]] == ["hello\n"]
    ends_with(run, code)


@pytest.mark.parametrize(("limit", "is_listed"), [("LAGGING", True), ("UNREADABLE", False)])
def test_a_record_that_stays_active_after_the_end_of_its_stream_is_not_waited_for_without_end(
    cloud, connected, monkeypatch, limit, is_listed
):
    monkeypatch.setattr(follow, limit, 0.0)
    cloud.word = "running"
    cloud.on("GET /workloads/list", lambda _: [cloud._row(each) for each in cloud.runs] if is_listed else [])
    run = open_run(connected)
    list(run.follow())
    assert run.result(timeout=PATIENCE).return_code == 0


def test_a_byte_order_mark_before_an_answer_or_a_stream_is_no_part_of_it(cloud, connected):
    mark = b"\xef\xbb\xbf"
    cloud.on("POST /execution/streaming/start", lambda sent: mark.decode() + json.dumps({"id": cloud.taken(sent)}))
    cloud.stream = (STREAM, mark, said("hello\n"), finished(returnCode=0))
    assert [event.content for event in list(open_run(connected).follow())[:-1]] == ["hello\n"]


@pytest.mark.parametrize(
    "body",
    [
        f'{{"id": "{ID}"}}'.encode("utf-16"),
        f'{{"id": "{ID}", "name": "café"}}'.encode("latin-1"),
        f'{{"id": "{ID}", "name": "\\ud800"}}'.encode(),
    ],
    ids=["UTF-16", "Latin-1", "half a pair"],
)
def test_an_answer_in_another_encoding_is_read(cloud, connected, body):
    cloud.echoed = ()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    cloud.on("POST /execution/streaming/start", lambda request: [cloud.taken(request), (head, body)][1])
    assert open_run(connected).result(timeout=PATIENCE).execution_id == ID


@pytest.mark.parametrize("year", ["0001", "9999", "99999999999999"])
def test_a_moment_that_no_clock_shows_changes_nothing(cloud, connected, year):
    date = f"Mon, 01 Jan {year} 00:00:00 GMT"
    headers = {"Date": date, "Retry-After": date}
    busy = [(answer(429, "{}", "application/json", **headers),)]

    def started(request):
        if busy:
            return busy.pop()
        return (answer(200, json.dumps({"id": cloud.taken(request)}), "application/json", **headers),)

    cloud.on("POST /execution/streaming/start", started)
    assert open_run(connected).result(timeout=PATIENCE).execution_id == ID
    assert not busy
    assert abs(connected.client.now() - datetime.now(timezone.utc).timestamp()) < 60


def test_a_start_that_failed_while_an_unmarked_run_began_may_be_that_run(cloud, connected):
    cloud.echoed = ()
    cloud.on("POST /execution/streaming/start", lambda request: (500, {"detail": cloud.taken(request)}))
    cloud.on("GET /workloads/list", lambda _: [cloud._row(each) for each in cloud.runs])
    cloud.word = "running"
    with pytest.raises(OutcomeUnknown, match=rf"may be active and billed[^$]*{ID}"):
        open_run(connected)


@pytest.mark.parametrize("lacking", [(404, {"detail": "Not Found"}), (500, {"detail": "x"}), (204, "")])
def test_a_server_that_has_no_states_but_records_is_asked_for_those(cloud, connected, lacking):
    cloud.on("GET /execution/streaming/{}/status", lacking)
    cloud.stream = (STREAM, said("hello\n"))
    run = open_run(connected)
    assert [event.content for event in list(run.follow())[:-1]] == ["hello\n"]
    assert run.result(timeout=PATIENCE).execution_id == ID


@pytest.mark.parametrize("older", ["streaming", "image"])
def test_a_server_that_lacks_the_abort_of_all_runs_gets_the_older_one(cloud, connected, older):
    cloud.word = "running"

    def ends(_):
        cloud.word = "aborted"
        return 200, {"message": "ok"}

    cloud.on("POST /workloads/abort/{}", (404, {"detail": "Not Found"}))
    cloud.on(f"POST /execution/{older}/abort/{{}}", ends)
    assert open_run(connected).abort_soon().wait(seconds=PATIENCE)


def test_an_interrupt_ends_the_tries_of_a_start_that_was_refused_for_now(cloud, connected, tmp_path):
    machine = MachineType(hardware_profile="gpu.a100", price_per_hour=1)
    sending = Submission(
        connected, BundleBuilder(Source("1", folder=tmp_path), RunOptions(), machine, Limits(60, 600)).build()
    )

    def refuse(_):
        sending.abort_soon()
        return 429, {"detail": "Too many"}

    cloud.on("POST /execution/streaming/start", refuse)
    with pytest.raises(RateLimited):
        sending.answer()
    assert sending.aborted(seconds=PATIENCE) is None
    assert cloud.calls["POST /execution/streaming/start"] == 1


def test_an_empty_list_that_is_null_is_empty(cloud, connected):
    cloud.on("GET /workloads/list", lambda _: None)
    assert list(connected.client.workloads.list()) == []


def test_a_server_without_the_balance_of_an_organization_has_that_of_the_account(cloud, connected):
    cloud.on("GET /user/org", {"org_id": "o", "slug": "acme", "is_personal": False})
    assert connected.balance().credits == 5


@pytest.mark.parametrize("stored", [{"logs": []}, {"logs": None}, (404, {"detail": "no logs"})])
def test_the_log_of_a_run_that_is_stored_no_more_comes_from_its_record(cloud, connected, monkeypatch, capsys, stored):
    monkeypatch.setattr(runs, "current", lambda: connected)
    cloud.on("GET /logs/execution/{}", stored)
    cloud.record = {"stdout": "one\ntwo\n", "stderr": "three\n"}
    runs.lk_logs(None, open_run(connected).execution_id)
    shown = capsys.readouterr()
    assert shown.out.startswith("one\ntwo\n")
    assert shown.err == "three\n"


@pytest.mark.parametrize(("hours", "state"), [(5, "expired"), (-5, "active")])
def test_a_key_ends_by_the_clock_of_its_server(cloud, connected, hours, state):
    there = datetime.now(timezone.utc) + timedelta(hours=hours)
    end = datetime.now(timezone.utc) + timedelta(hours=hours / 2)
    rows = [{"id": ID, "key_name": "laptop", "is_active": True, "expires_at": end.isoformat()}]
    cloud.on(
        "GET /auth/api-keys/",
        (answer(200, json.dumps({"api_keys": rows}), "application/json", Date=format_datetime(there)),),
    )
    (key,) = list_keys(connected.client, None)
    assert key.state == state
    cloud.on("POST /auth/api-keys/", {"api_key": KEY, "id": ID})
    create_key(connected.client, "laptop", None, "90d")
    asked = moment(cloud.bodies["POST /auth/api-keys/"][0]["expires_at"])
    assert abs(asked - there - timedelta(days=90)) < timedelta(hours=1)


# Models


VECTORS = [{"embedding": [1.0], "index": 0}, {"embedding": [2.0], "index": 1}]


@pytest.mark.parametrize(
    ("answered", "rows", "cost"),
    [
        ({"data": VECTORS, "usage": {"prompt_tokens": 2}}, [[1.0], [2.0]], Decimal(2)),
        ({"data": VECTORS[::-1], "usage": {"prompt_tokens": 2}}, [[1.0], [2.0]], Decimal(2)),
        ({"data": VECTORS}, [[1.0], [2.0]], None),
        ({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}], "usage": {}}, [[1.0], [2.0]], None),
    ],
)
def test_vectors_come_in_the_order_of_their_texts_and_cost_what_is_known(cloud, connected, answered, rows, cost):
    cloud.on("POST /serverless/embeddings", answered)
    offer = ModelOffer("m", "embedding", None, TokenPrices(prompt=Decimal(1)))
    *_, found = embed(connected, offer, ["a", "b"])
    assert [list(row) for row in found.rows] == rows
    assert found.cost == cost


@pytest.mark.parametrize(
    "data", [[VECTORS[0], VECTORS[0]], [VECTORS[0], {"embedding": "no base64!", "index": 1}], [VECTORS[0]]]
)
def test_vectors_that_fit_no_text_are_refused_in_our_words(cloud, connected, data):
    cloud.on("POST /serverless/embeddings", {"data": data})
    with pytest.raises(InvalidResponse, match=r"^m returned"):
        list(embed(connected, ModelOffer("m", "embedding", None, TokenPrices()), ["a", "b"]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {"custom_id": "row-1", "response": {"status_code": 200, "body": {"choices": None}}},
            [RowFailure(1, 200, ANY, is_unknown=True)],
        ),
        ({"custom_id": "row-1", "response": {"status_code": 429, "body": None}}, [RowFailure(1, 429, ANY)]),
        ({"custom_id": None}, []),
        ([], []),
    ],
)
def test_one_odd_line_of_a_batch_does_not_lose_the_other_answers(line, expected):
    assert list(parse_outcomes(json.dumps(line).encode() + b"\r\n")) == expected


def test_a_row_whose_answer_cannot_be_read_is_not_asked_again(cloud, connected, home):
    answers = [{"custom_id": "row-1", "response": {"status_code": 200, "body": {"choices": [{"message": {}}]}}}, "odd"]
    text = "".join(f"{json.dumps(line)}\r\n" for line in answers)
    cloud.on("POST /files", {"id": "f"})
    cloud.on("POST /batches", {"id": "b", "status": "validating"})
    cloud.on("GET /batches/b", {"id": "b", "status": "completed", "input_file_id": "f", "output_file_id": "o"})
    cloud.on("GET /files/o/content", (answer(200, text, "application/jsonl"),))
    job = Job(ModelOffer("m", "chat", None, TokenPrices()), ["a", "b"])
    with open_batch_file(job.key) as file:
        work = Work(connected, job, file, pause=lambda _: None)
        list(work.steps())
        found = work.result()
    assert list(found.answers) == [1]
    assert "may be billed" in found.failures[0].message
    assert found.cost is None
    assert cloud.calls["POST /batches"] == 1


def test_a_question_that_a_waking_deployment_has_accepted_is_asked_once(cloud, connected, monkeypatch):
    monkeypatch.setattr(chat_target, "_WAKING", 0)
    cloud.on("GET /inference/get", {"deployment_id": ID, "status": "pending"})
    asked = []

    def answers(request):
        asked.append(request.path)
        return (202, {"request_id": "q1"}) if len(asked) == 3 else (503, {"detail": "waking up"})

    cloud.on("POST /iris/openai/v1/chat/completions", answers)
    own = DeploymentTarget(connected, Deployment(deployment_id=ID, hf_model_id="m", status="pending"))
    with pytest.raises(OutcomeUnknown, match="'q1'"):
        list(own.ask(ChatCompletionParameters(messages=[ChatMessage(role="user", content="hi")])))
    assert len(asked) == 3


def test_a_run_of_several_says_that_its_output_may_be_incomplete(cloud, connected):
    run = open_run(connected)
    run.result(timeout=PATIENCE)
    run._ending.repaired_lines = 2
    (notice,) = ObserverGroup().ended(run, run.record)
    assert "2 lines were missing or torn" in str(notice)
    run._ending.lacks_output = True
    (notice,) = ObserverGroup().ended(run, run.record)
    assert INCOMPLETE in str(notice)
    assert INCOMPLETE in str(views.run(run))


def test_an_error_in_the_words_of_a_server_does_not_steer_the_terminal(cloud, connected):
    cloud.on("GET /workloads/list", (400, {"detail": "\x1b]0;title\x07\x1b[2Jno such\u202e thing"}))
    with pytest.raises(ApiError, match=r"^no such thing") as refused:
        connected.client.workloads.list()
    assert "title" not in str(refused.value)


# Refusals of a creation after which the object exists


REFUSALS = [
    (500, {"detail": "The instance could not be provisioned right now. Try again later."}),
    (409, {"detail": "busy"}),
    (422, {"detail": "instance_specs is invalid"}),
    (402, {"detail": "Insufficient credits"}),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_vm_that_exists_after_its_request_was_refused_is_used(cloud, connected, refusal):
    cloud.on("POST /vms/create", lambda request: [cloud._rented(request), refusal][1])
    assert rent(connected).vm_id == ID.replace("-", "")


def test_a_vm_that_is_listed_a_moment_after_its_request_was_refused_is_used(cloud, connected):
    rows, listed = [], []
    cloud.on("POST /vms/create", lambda request: [rows.append(cloud._rented(request)), REFUSALS[0]][1])
    cloud.on("GET /vms/list", lambda _: [listed.append(1), {"vms": rows if len(listed) > 3 else []}][1])
    assert rent(connected).vm_id == ID.replace("-", "")


@pytest.mark.parametrize("change", [{"user_id": "another-user"}, {"instance_specs": {"gpu_type": "h100"}}])
def test_another_vm_of_the_name_after_a_refusal_is_reported_with_the_command_that_deletes_it(cloud, connected, change):
    cloud.on("POST /vms/create", lambda request: [cloud._rented(request).update(change), REFUSALS[0]][1])
    with pytest.raises(OutcomeUnknown, match=f"may be yours and billed. Delete it: %lk_vm delete {ID[:8]}") as failure:
        rent(connected)
    assert "Nothing was rented" not in str(failure.value)


def test_a_vm_that_failed_after_its_request_was_refused_is_not_billed_and_not_reported(cloud, connected):
    cloud.on("POST /vms/create", lambda request: [cloud._rented(request).update(status="failed"), REFUSALS[0]][1])
    with pytest.raises(ServerError, match="Nothing was rented or charged"):
        rent(connected)


def test_a_volume_that_exists_after_its_vm_was_refused_is_reported_with_the_command_that_deletes_it(cloud, connected):
    volumes = []
    cloud.on("GET /storage/block", lambda _: {"volumes": volumes})
    cloud.on("POST /vms/create", lambda _: [volumes.append({"volume_id": "vol-1"}), REFUSALS[0]][1])
    request = vms.request_for(VmShape("a100", 1, "on-demand", 100), "ssh-ed25519 AAAA", "train", [], move=False)
    offer = choose_offer(list_offers(connected.client.vms.availability()), VmShape("a100", 1, "on-demand", None))
    with pytest.raises(OutcomeUnknown, match="%lk_volumes delete vol-1"):
        vms.create_once(connected.client, request, offer)


def test_a_refusal_after_which_the_list_cannot_be_read_is_no_proof_that_nothing_was_rented(cloud, connected):
    listed = []
    cloud.on("GET /vms/list", lambda _: [listed.append(1), {"vms": []} if len(listed) == 1 else (500, {})][1])
    cloud.on("POST /vms/create", REFUSALS[0])
    with pytest.raises(OutcomeUnknown, match="may exist and be billed"):
        rent(connected)


@pytest.mark.parametrize("refusal", REFUSALS[1:], ids=str)
def test_a_run_and_a_deployment_that_exist_after_their_requests_were_refused_are_used(cloud, connected, refusal):
    cloud.on("POST /execution/streaming/start", lambda request: [cloud.taken(request), refusal][1])
    assert open_run(connected).execution_id == ID
    cloud.on("POST /inference/create", lambda request: [cloud.deployed(request), refusal][1])
    made = deploy.create_once(connected.client, CreateDeploymentRequest(hf_model_id="local/echo"))
    assert made.deployment_id == ID
