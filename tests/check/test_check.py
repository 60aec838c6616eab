"""``%lk_check`` against servers that differ, and what it may never do."""

from __future__ import annotations

import json
import os
import re
import signal
import string
import subprocess
import sys
import threading
import time
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest
from cloud_process import run_forked
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from stand_in import IDS, KEY, STREAM, StandIn, said
from text.test_secrets import EXAMPLES, SIGNED

from lk_jupyter import session
from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.check import ended_run as ended
from lk_jupyter.check import recording
from lk_jupyter.check.findings import Exchange, Report
from lk_jupyter.check.levels import Check, LevelRequest
from lk_jupyter.check.start import start as check_of
from lk_jupyter.config.assumptions import Assumptions
from lk_jupyter.errors import Unauthorized, UsageError

ABSENT = (404, {"detail": "Not Found"})


@pytest.fixture
def strange(home):
    found = StandIn()
    yield found
    found.close()


@pytest.fixture
def connected(strange):
    with session.connect(strange.url, KEY) as found:
        yield found


def checked(connected, **wish):
    """Check a server and return the report."""
    check = Check(connected.client, connected, LevelRequest(**wish))
    check.run(lambda _: None)
    return check.report


def named(report):
    return {each.name: each.found for each in report.deviations if each.name}


# The description that a server publishes


def described(*, without=(), **changes):
    """Return a description with what the client needs, as FastAPI writes it."""
    body = {"$ref": "#/components/schemas/Start"}
    start = {
        "properties": {"code": {"type": "string"}, "timeout": {"anyOf": [{"type": "integer", "maximum": 600}]}},
        "required": ["code"],
    }
    image = {"properties": {"s3_mount_path": {"type": "string", "default": "/mnt/s3"}}}
    paths = {
        f"{EXTERNAL}/execution/streaming/start": {"post": taking(body)},
        f"{EXTERNAL}/execution/image/start": {"post": taking({"$ref": "#/components/schemas/Image"})},
        f"{EXTERNAL}/execution/gpu_selection/start": {"post": {}},
        f"{EXTERNAL}/inference/create": {"post": taking({"properties": {"hardware_profile": {}, "gpu_type": {}}})},
        f"{EXTERNAL}/machine-types": {"get": {}},
        f"{EXTERNAL}/serverless/chat/completions": {"post": {}},
        f"{EXTERNAL}/batches": {"get": {}, "post": {}},
        "/api/v1/stream/{run}": {"post": {}},
        **changes.pop("paths", {}),
    }
    schemas = {"Start": start, "Image": image, **changes.pop("schemas", {})}
    return {
        "openapi": "3.1.0",
        "paths": {path: methods for path, methods in paths.items() if path.removeprefix(EXTERNAL) not in without},
        "components": {"schemas": schemas},
    }


def taking(schema):
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


@pytest.mark.parametrize(
    ("description", "name", "found"),
    [
        (described(without={"/execution/gpu_selection/start"}), "gpu_selection", "absent"),
        (described(without={"/batches"}), "batch_prefix", "absent"),
        (described(without={"/batches"}, paths={"/openai/v1/batches": {"get": {}}}), "batch_prefix", "/openai/v1"),
        (
            described(without={"/serverless/chat/completions"}, paths={"/openai/v1/chat/completions": {"post": {}}}),
            "chat_prefix",
            "/openai/v1",
        ),
        (described(paths={"/api/v1/stream/{run}": {"get": {}}}), "stream_method", "GET"),
        (
            described(without={"/machine-types"}, paths={f"{EXTERNAL}/user/status": {"get": {}}}),
            "signin_lookup",
            "GET /user/status",
        ),
        (
            described(schemas={"Start": {"properties": {"code": {}, "timeout": {"maximum": 300}}}}),
            "longest_run",
            "300",
        ),
        (
            described(schemas={"Image": {"properties": {"s3_mount_path": {"default": "/lyceum/storage"}}}}),
            "bucket_folder_image",
            "/lyceum/storage",
        ),
        (
            described(paths={f"{EXTERNAL}/inference/create": {"post": taking({"properties": {"gpu_type": {}}})}}),
            "deployment_gpu_field",
            "gpu_type",
        ),
    ],
)
def test_a_published_description_shows_what_differs_without_a_key(strange, description, name, found):
    strange.on("GET /openapi.json", description)
    check = check_of(LevelRequest(public=True), strange.url)
    check.run(lambda _: None)
    differing = named(check.report)
    differing.pop("absent_operations")  # this description has few
    assert differing == {name: found}
    assert Assumptions(strange.url)[name] == found
    assert not any("authorization" in request.headers for request in strange.server.requests)


def test_operations_that_a_description_lacks_are_absent(strange):
    strange.on("GET /openapi.json", described())
    check = check_of(LevelRequest(public=True), strange.url)
    check.run(lambda _: None)
    absent = Assumptions(strange.url).list_parts("absent_operations")
    assert "GET /storage/block" in absent
    assert not any("/batches" in each or "/machine-types" in each for each in absent)


def test_a_description_below_the_prefix_is_read_too(strange):
    relative = described(schemas={"Start": {"properties": {"timeout": {"maximum": 300}}}})
    relative["paths"] = {path.removeprefix(EXTERNAL): methods for path, methods in relative["paths"].items()}
    strange.on("GET /openapi.json", lambda request: relative if request.path.startswith(EXTERNAL) else ABSENT)
    check = check_of(LevelRequest(public=True), strange.url)
    check.run(lambda _: None)
    assert named(check.report)["longest_run"] == "300"


@pytest.mark.parametrize(
    "content", ["<html>", "[]", {"paths": {"/pets": {"get": {}}}}, {"paths": 7}, {"paths": {"/a": 7}}]
)
def test_a_description_of_something_else_is_not_used(strange, content):
    strange.on("GET /openapi.json", content)
    check = check_of(LevelRequest(public=True), strange.url)
    check.run(lambda _: None)
    assert not named(check.report)
    assert "publishes no API description" in str(check.report.table())


def test_a_field_that_the_server_requires_and_we_do_not_know_is_a_row(strange):
    start = {"properties": {"code": {}, "project": {"type": "string"}}, "required": ["code", "project"]}
    strange.on("GET /openapi.json", described(schemas={"Start": start}))
    check = check_of(LevelRequest(public=True), strange.url)
    check.run(lambda _: None)
    assert any("'project' unknown" in each.expected for each in check.report.deviations)


# Reading with a key


def test_reading_finds_what_is_absent_moved_and_limited(strange, connected):
    limit = [{"loc": ["body", "timeout"], "msg": "Input should be less than or equal to 300", "type": "le"}]
    strange.on("GET /openai/v1/models", {"data": []}).on("GET /openai/v1/batches", {"data": []})
    strange.on("POST /execution/streaming/start", (422, {"detail": limit}))
    strange.on("POST /execution/image/start", (422, {"detail": []}))
    strange.on("POST /execution/compose/start", (422, {"detail": []}))
    strange.on("POST /execution/gpu_selection/start", ABSENT)
    strange.on("GET /pricing", {"prices": []})
    found = named(checked(connected, probe_starts=True))
    assert "GET /storage/block" in found.pop("absent_operations")
    assert found == {
        "chat_prefix": "/openai/v1",
        "batch_prefix": "/openai/v1",
        "longest_run": "300",
        "gpu_selection": "absent",
    }


def test_reading_starts_and_changes_nothing(strange, connected):
    checked(connected)
    writes = {call for call in strange.calls if not call.startswith("GET")}
    assert writes <= {"POST /serverless/route", "POST /voucher/validate", "POST /storage/credentials"}
    sent = [body for bodies in strange.bodies.values() for body in bodies]
    assert not any("code" in body or "docker_image_ref" in body for body in sent)


def test_the_probes_are_listed_by_their_highest_cost_before_the_first_is_sent(cloud):
    lines = []
    with session.connect(cloud.base_url, cloud.api_key) as account:
        Check(account.client, account, LevelRequest(run_limit=20)).run(lines.append)
    title, *rows = lines[0].splitlines()
    assert title == "Probes of this check, by their highest cost:"
    assert ["free" in row for row in rows] == [True, True, False, False, False]
    costs = [float(row.split()[1]) for row in rows if "credits" in row]
    assert costs == sorted(costs)
    assert len(costs) == 2
    assert {row.split("--")[-1].split()[0] for row in rows[2:] if row.split()[0] == "no"} == {"spend", "probe-starts."}


@pytest.mark.parametrize("wrap", [lambda run: {"execution_id": run}, lambda run: {"data": [{"job_id": run}]}])
def test_a_run_that_a_probed_start_has_started_is_aborted_and_reported(strange, connected, wrap):
    strange.on("POST /execution/image/start", lambda request: (201, wrap(strange.taken(request))))
    report = checked(connected, probe_starts=True)
    assert len(strange.runs) == 4
    assert strange.calls["POST /workloads/abort/{}"] == 4
    for run in strange.runs:
        assert f"Aborted run {run}." in report.notes
    rows = [each for each in report.deviations if each.operation == "POST /execution/image/start" and not each.name]
    assert [row.does for row in rows] == [f"Aborted run {list(strange.runs)[1]}."]


def test_an_empty_list_is_not_seen_and_no_difference(strange, connected):
    strange.on("GET /files", {"data": []}).on("GET /vms/list", {"vms": [{"vm_id": IDS[0]}]})
    strange.on("GET /vms/{}/status", {"vm_id": IDS[0], "status": "ready"})
    report = checked(connected)
    unseen = {each.operation for each in report.findings if each.found == "not seen" and not each.deviates}
    assert {"GET /files", "GET /workloads/list"} <= unseen
    assert "GET /vms/list" not in unseen


#: Reads of an organization.
OF_ORGANIZATION = {"", "/members", "/invites", "/balance", "/transactions", "/transactions/aggregate", "/api-keys"}


@pytest.mark.parametrize("slug", ["acme", "Acme_Research.2"])
@pytest.mark.parametrize("source", ["GET /user/org", "GET /orgs"])
def test_the_reads_of_an_organization_name_the_organization_of_the_key_and_are_compared(
    strange, connected, source, slug
):
    row = {"id": IDS[0], "slug": slug, "name": "Acme", "is_personal": False, "role": "owner", "is_default": True}
    strange.on("GET /orgs", [row])
    strange.on(source, [row] if source == "GET /orgs" else {**row, "org_id": IDS[0], "is_key_scoped": True})
    for path in OF_ORGANIZATION:
        strange.on(f"GET /orgs/{slug}{path}", {"balance": 7} if path == "/members" else [7])
    report = checked(connected)
    odd = {each.operation for each in report.deviations if each.operation.startswith("GET /orgs/{slug}")}
    assert odd == {f"GET /orgs/{{slug}}{path}" for path in OF_ORGANIZATION}
    (aggregate,) = [each.path for each in report.exchanges if "/aggregate" in each.path]
    assert aggregate.endswith("?category=executions&group_by=hardware_profile")


def test_without_an_organization_its_reads_are_not_seen(strange, connected):
    unseen = {each.operation for each in checked(connected).findings if each.found == "not seen"}
    assert "GET /orgs/{slug}" in unseen


def test_a_key_that_is_not_accepted_ends_the_check_with_that(strange, connected):
    strange.on("GET /machine-types", (401, {"detail": "Invalid API key"}))
    strange.on("GET /user/status", (401, {"detail": "Invalid API key"}))
    with pytest.raises(Unauthorized):
        checked(connected)


def test_what_the_user_set_stays_and_the_check_says_what_it_found(strange, connected):
    Assumptions(strange.url).set("gpu_selection", "offered")
    strange.on("POST /execution/gpu_selection/start", ABSENT)
    assert named(checked(connected, probe_starts=True))["gpu_selection"] == "absent"
    assert Assumptions(strange.url).resolve("gpu_selection") == ("offered", "set by you")


# Spending


def test_spending_on_the_local_cloud_costs_at_most_what_it_said_and_leaves_nothing(session):
    before = session.balance().credits
    report = checked(session, spend=True)
    spent = before - session.balance().credits
    assert Decimal(0) < spent < Decimal("0.03")
    assert not list(session.storage.ls("lk_check"))
    assert not list(session.client.workloads.list())
    assert not set(named(report)) - {"pricing_count"}
    assert {"bucket_folder_python", "working_folder", "frames", "abort_answer", "router_prefix"} <= set(report.values)


#: What a check measures, and in which operation: each row has a figure.
MEASURED = {
    (
        "GET /execution/{execution_id}",
        "price by seconds",
    ): r"0\.\d+ credits for \d+\.\d seconds \(from start to end, not",
    ("GET /execution/{execution_id}", "a bill"): r"\d+\.\d seconds after the end",
    ("GET /billing/credits", "the bill of the run"): r"\d+\.\d seconds after the end",
    ("POST /workloads/abort/{execution_id}", "the end of the run"): r"\d+\.\d seconds after the abort",
}


def test_a_check_that_spends_reads_its_run_again_and_measures_bill_and_abort(session):
    report = checked(session, spend=True)
    found = {(each.operation, each.expected): each for each in report.findings}
    for row, pattern in MEASURED.items():
        assert re.match(pattern, found[row].found), found[row]
        assert not found[row].deviates
    starts = [each for each in report.exchanges if each.path.endswith("/streaming/start") and each.status == 200]
    run = starts[0].body["execution_id"]
    read = [each.path.removeprefix(EXTERNAL) for each in report.exchanges if each.status == 200]
    assert {f"/execution/{run}/metrics", f"/execution/{run}/timing", f"/execution/{run}"} <= set(read)
    assert read.count("/billing/history") == 2
    assert read.count("/workloads/list") == 3  # the last of them while the second run is active


STAMPS = {
    "start_time": "2026-08-03T11:00:00Z",
    "end_time": "2026-08-03T11:00:30Z",
    "created_at": "2026-08-03T10:59:55Z",
}


def ended_run(strange, connected, monkeypatch, *, balances=(5, 4.99), **record):
    """Compare an ended run of 30 s at 1.2 credits per hour on a stand-in; return the report."""
    monkeypatch.setattr(ended, "BILL_PATIENCE", 0.2)
    monkeypatch.setattr(ended, "_PACE", 0.02)
    run = IDS[0]
    strange.runs[run] = {}
    strange.record = {"billed": 0.01, **STAMPS, **record}
    row = {"execution_id": run, "status": "completed", "billed": 0.01}
    strange._scripts.setdefault("GET /billing/history", {"executions": [row]})
    left = list(balances[1:])
    strange.on("GET /billing/credits", lambda _: {"remaining_credits": left.pop(0) if len(left) > 1 else left[0]})
    report = Report(connected.client)
    ended.EndedRun(connected.client, report, run, Decimal("1.2"), Decimal(balances[0])).compare()
    return report


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"billed": 0.01}, "0.01 credits for 30.0 seconds (from start to end, not rounded up), 2 decimals"),
        ({"billed": 0.02}, "0.02 credits for 60.0 seconds (from start to end, rounded up to 60 seconds), 2 decimals"),
        ({"billed": 0.011667}, "0.011667 credits for 35.0 seconds (from request to end, not rounded up), 6 decimals"),
        ({"billed": 1.0}, "1.0 cents for 30.0 seconds (from start to end, not rounded up), 1 decimals"),
        ({"billed": 0.5}, "0.5 for 30.0 seconds (from start to end) at 1.2 credits per hour"),
        ({"billed": None}, "no bill within 0 seconds"),
    ],
)
def test_the_unit_and_the_rounding_of_a_bill_are_reported(strange, connected, monkeypatch, record, words):
    report = ended_run(strange, connected, monkeypatch, **record)
    rows = [each for each in report.findings if each.operation == "GET /execution/{execution_id}"]
    assert words in {each.found for each in rows}
    expected = "credits for 30.0 seconds (from start to end" in words
    assert next(each for each in rows if each.found == words).deviates is not expected


RUN = IDS[0]
SAMPLES = [{"timestamp": "2026-08-03T11:00:10Z", "value": 50}]


@pytest.mark.parametrize(
    ("operation", "reply", "words"),
    [
        ("GET /billing/history", {"executions": []}, "no such run"),
        ("GET /billing/history", {"executions": [{"execution_id": RUN, "billed": 7}]}, "'billed' is 7 in the history"),
        ("GET /workloads/list", [{"execution_id": RUN, "status": "running"}], "a run that is running"),
        ("GET /execution/{}/metrics", {"executionId": IDS[1]}, "another run"),
        ("GET /execution/{}/metrics", {"gpuUtilizationPercent": [{**SAMPLES[0], "value": 9000}]}, "more"),
        (
            "GET /execution/{}/metrics",
            {"gpuPowerWatt": [{**SAMPLES[0], "timestamp": "2026-08-03T12:00:10Z"}]},
            "3,580 seconds away",
        ),
        ("GET /execution/{}/metrics", (500, {"detail": "boom"}), "HTTP 500"),
        ("GET /execution/{}/timing", {"timing": {"executingJob": 30_000}}, "30000, but the record states 30.0 seconds"),
    ],
)
def test_an_answer_that_differs_from_the_record_of_its_run_is_a_row(  # noqa: PLR0913, PLR0917 (a table)
    strange, connected, monkeypatch, operation, reply, words
):
    strange.on(operation, reply)
    report = ended_run(strange, connected, monkeypatch)
    assert any(words in each.found for each in report.deviations), report.deviations


def test_a_balance_that_does_not_fall_or_falls_by_more_than_the_bill_is_a_row(strange, connected, monkeypatch):
    same = ended_run(strange, connected, monkeypatch, balances=(5, 5))
    assert "the same balance for 0 seconds" in {each.found for each in same.deviations}
    more = ended_run(strange, connected, monkeypatch, balances=(5, 5, 4))
    assert "the balance fell by 1 credits, but the bill is 0.01" in {each.found for each in more.deviations}


def test_metrics_and_timing_without_an_example_are_not_seen(strange, connected, monkeypatch):
    strange.on("GET /execution/{}/metrics", {"executionId": RUN}).on("GET /execution/{}/timing", {"execution_id": RUN})
    report = ended_run(strange, connected, monkeypatch)
    unseen = {each.operation for each in report.findings if each.found == "not seen"}
    assert {"GET /execution/{execution_id}/metrics", "GET /execution/{execution_id}/timing"} <= unseen
    assert not report.deviations


def test_a_worst_case_above_the_limit_is_refused_before_anything_is_sent(strange, connected):
    with pytest.raises(UsageError, match=r"may cost 0\.0416 credits.*more than --max-credits 0\.01.*Nothing was spent"):
        checked(connected, spend=True, max_credits=Decimal("0.01"))
    assert not strange.runs


def test_machines_without_a_price_are_refused(strange, connected):
    strange.on("GET /machine-types", {"machine_types": [{"hardware_profile": "gpu.a100"}]})
    with pytest.raises(UsageError, match="cost of --spend is unknown"):
        checked(connected, spend=True)


def test_an_interrupt_aborts_the_run_that_was_started(strange, home):
    started, aborted = threading.Event(), threading.Event()
    ended = {"status": "running"}

    def start(request):
        if "code" not in request.json:
            return 422, {"detail": []}
        started.set()
        return {"execution_id": strange.taken(request)}

    def abort(_):
        ended["status"] = "aborted"
        aborted.set()
        return {"message": "ok"}

    strange.on("POST /execution/streaming/start", start).on("POST /workloads/abort/{}", abort)
    strange.on("POST /stream/{}", lambda _: (STREAM, said("…\n"), aborted))
    strange.on("GET /execution/streaming/{}/status", lambda _: ended)
    command = [sys.executable, "-m", "lk_jupyter.check", "--spend"]
    env = {**os.environ, "LK_BASE_URL": strange.url, "LK_API_KEY": KEY}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert started.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        _, said_of_it = process.communicate(timeout=60)
    assert aborted.is_set()
    assert process.returncode == 130, said_of_it
    assert strange.calls["POST /execution/streaming/start"] == 2  # a refused request, and the run


# A recording


#: Words that no English text has.
NAMES = st.text("qxzjkvw", min_size=5, max_size=12).map(lambda word: f"zq{word}")


def report_with(*bodies):
    report = Report(check_of(LevelRequest(public=True), "https://cloud.example").report.client)
    report.exchanges += [Exchange("GET", f"{EXTERNAL}/user/status", 200, body) for body in bodies]
    return report


@pytest.mark.parametrize("kind", [*EXAMPLES, "signed URL"])
def test_a_recording_with_a_secret_is_refused(kind, home, tmp_path):
    secret = {**EXAMPLES, "signed URL": SIGNED}[kind]
    with pytest.raises(UsageError, match="Nothing was written"):
        recording.write(tmp_path / "check.json", report_with({"detail": f"no access with {secret} here"}))
    assert not (tmp_path / "check.json").exists()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_secret_in_a_field_is_replaced(kind, home):
    assert EXAMPLES[kind] not in recording.format_recording(report_with({"api_key": EXAMPLES[kind], "status": "ok"}))


def test_a_recording_holds_no_address_name_or_id_of_the_traffic(home):
    private = {
        "user_id": "3f0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44",
        "number_id": 77123456,
        "email": "mira@example.com",
        "full_name": "Mira Kowalska",
        "slug": "kowalska-lab",
        "ip_address": "203.0.113.10",
        "streaming_url": "https://stream.example/s/abc",
        "ssh": "198.51.100.20:22",
        "address": "Rue de la Paix 7",
    }
    run = "3f0c2a9e5b1d4c7e9a526d1f8e0b7a44"
    told = {"detail": f"kowalska-lab: user Mira Kowalska (mira@example.com) at 203.0.113.10 lacks run {run}"}
    own = {"metadata": {"secret_project": "apollo"}, "labels": ["apollo"], "stdout": "apollo", "kowalska-lab": 1}
    text = recording.format_recording(report_with(private, told, own, {"host": "cloud.example"}))
    for value in (*private.values(), "apollo", "secret_project", run, "cloud.example"):
        assert str(value) not in text
    kept = json.loads(text)["seen"]
    assert set(kept[0]["answer"]) == set(private)
    assert kept[0]["answer"]["email"] in kept[1]["answer"]["detail"]  # the same wherever it stands


def test_a_recording_holds_no_name_of_an_organization_a_project_or_a_person(home):
    model = {"id": "kowalska/llama-tuned", "object": "model", "owned_by": "kowalska"}
    charge = {"category": "apollo", "source": "moonshot", "description": "apollo for kowalska", "type": "apollo"}
    billing = {
        "billing_company_name": "Kowalska GmbH",
        "billing_tax_id": "812345678",
        "tax": 812345678,
        "unit": "apollo",
    }
    odd = {"phone": "0151234567", "version": "kowalska", "status": "apollo", "kowalska": 3, "created_at": "apollo"}
    told = {
        "detail": "Kowalska may not use moonshot. apollo: kowalska reached 3 runs, call +49 151 2345678 or 0151234567"
    }
    text = recording.format_recording(report_with(model, charge, billing, odd, told))
    for name in ("owalska", "apollo", "moonshot", "llama", "GmbH", "812345678", "0151234567", "2345678"):
        assert name not in text, name
    answers = [each["answer"] for each in json.loads(text)["seen"]]
    assert answers[0]["object"] == "model"
    assert isinstance(answers[2]["tax"], int) or answers[2]["tax"].startswith("<")
    words = answers[4]["detail"]
    assert "may not use" in words
    assert "reached 3 runs" in words


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=8), NAMES, max_size=6), NAMES)
def test_no_made_up_word_comes_through_a_recording(fields, name):
    content = {**fields, "rows": [{"owned_by": name, "name": name, "category": [name], name: {"source": name}}]}
    text = recording.format_recording(report_with(content, {"message": f"the user {name} of {name} is unknown"}))
    assert name not in text


@pytest.mark.parametrize("path", ["/machine-types", "/pricing", "/vms/availability"])
def test_the_catalogue_of_the_product_stays_in_a_recording(path, home, cloud):
    report = report_with()
    content = cloud.http.get(path.lstrip("/")).json()
    report.exchanges.append(Exchange("GET", f"{EXTERNAL}{path}", 200, content))
    text = recording.format_recording(report)
    assert "a100" in text
    for value in re.findall(r'"(?:unit_)?price(?:_per_hour)?": (\S+?),?$', json.dumps(content, indent=1), re.MULTILINE)[
        :5
    ]:
        assert value in text


def test_machine_types_stay_in_a_recording_of_a_cloud_without_a_list_of_machines(home):
    quotas, run = {"gpu.l40s": True, "cpu": True}, {"hardware_profile": "gpu.l40s"}
    answers = [each["answer"] for each in json.loads(recording.format_recording(report_with(quotas, run)))["seen"]]
    assert answers == [quotas, run]


def test_a_recording_has_the_form_of_each_id_and_no_id(home):
    ids = {
        "run_id": str(UUID(int=0xA7)),
        "vm_id": "VM-7A",
        "file_id": "3F0C2A9E5B1D4C7E9A526D1F8E0B7A44",
        "org_id": 77123,
    }
    content = json.loads(recording.format_recording(report_with(ids)))
    forms = [content["ids"][content["seen"][0]["answer"][name]] for name in ids]
    assert forms == [
        "-".join(f"[0-9a-f]{{{n}}}" for n in (8, 4, 4, 4, 12)),
        "[A-Z]{2}-[0-9A-F]{2}",
        "[0-9A-F]{32}",
        10000,
    ]


def test_a_recording_has_the_delay_of_each_answer(strange, connected, tmp_path):
    strange.on("GET /user/status", lambda _: time.sleep(0.2) or {"user_id": IDS[0]})
    checked(connected, record=tmp_path / "check.json")
    steps = json.loads((tmp_path / "check.json").read_text())["seen"]
    assert all(datetime.fromisoformat(each["request_time"]).tzinfo and each["seconds"] >= 0 for each in steps)
    assert [each["seconds"] >= 0.2 for each in steps if each["request"].endswith("/user/status")] == [True]


def test_a_long_sentence_takes_no_time(home):
    began = time.monotonic()
    recording.format_recording(
        report_with({"detail": "x" * 60_000}, {"detail": "a.b+" * 15_000}, {"detail": "12 " * 20_000})
    )
    assert time.monotonic() - began < PATIENCE / 3


def test_a_recording_keeps_the_words_and_figures_of_the_api(home):
    row = {"hardware_profile": "gpu.a100", "price_per_hour": 1.59, "status": "completed", "count": None}
    rows = json.loads(recording.format_recording(report_with({"rows": [row] * 9})))["seen"][0]["answer"]["rows"]
    assert rows[0] == row
    assert rows[-1] == "<4 more>"


def test_a_file_that_exists_is_not_overwritten_and_nothing_is_sent(strange, connected, tmp_path):
    (tmp_path / "check.json").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        checked(connected, record=tmp_path / "check.json")
    assert not strange.calls


def test_a_check_of_the_local_cloud_can_be_recorded(make_cloud, home, tmp_path):
    cloud = make_cloud()  # no other test has left a secret in it
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        checked(connected, record=tmp_path / "check.json")
        me = connected.client.user.status()
    text = (tmp_path / "check.json").read_text()
    assert len(text) < 100_000
    assert not [value for value in (me.user_id, me.email, cloud.api_key) if value and value in text]


# Its faces


@pytest.mark.parametrize(("script", "status"), [({}, 1), ({"GET /machine-types": (401, {"detail": "no"})}, 2)])
def test_the_command_ends_with_a_status(strange, script, status):
    for operation, reply in script.items():
        strange.on(operation, reply).on("GET /user/status", reply)
    env = {**os.environ, "LK_BASE_URL": strange.url, "LK_API_KEY": KEY}
    done = run_forked("lk_jupyter.check", env=env)
    assert done.returncode == status, done.stderr
    assert "Operation" in done.stdout
