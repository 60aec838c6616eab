"""Magics on a server that lacks what they would use."""

import json
import zlib
from binascii import b2a_base64, crc32
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from api.scripted import RESET, answer
from stand_in import DONE, IDS, KEY, STREAM, StandIn, finished, said

from lk_jupyter.api.logs import INCOMPLETE
from lk_jupyter.config.assumptions import Assumptions
from lk_jupyter.storage.remote import remote_path


@pytest.fixture
def lacking(home, monkeypatch):
    """A server that compares no GPUs and has no /batches; it is the one in use."""
    found = StandIn()
    machines = [{"hardware_profile": f"gpu.{card}", "price_per_hour": 1.5} for card in ("a100", "h100")]
    found.on("GET /machine-types", {"machine_types": machines})
    found.on("POST /execution/gpu_selection/start", (404, {"detail": "Not Found"}))
    monkeypatch.setenv("LK_BASE_URL", found.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    yield found
    found.close()


def test_a_server_that_compares_no_gpus_gets_one_run_for_each(lacking, run_cell):
    shown = run_cell("%%lk_select --timeout 30 --yes\nprint('hello')")
    assert "one run is started for each" in shown
    started = {run["execution_type"]: run["timeout"] for run in lacking.runs.values()}
    assert started == {"gpu.a100": 30, "gpu.h100": 30}
    run_cell("%%lk_select --timeout 30 --yes\nprint('hello again')")
    assert lacking.calls["POST /execution/gpu_selection/start"] == 1


def test_an_operation_that_a_server_lacks_is_one_line_that_names_the_check(lacking, run_cell):
    shown = run_cell("%lk_volumes list")
    assert "OperationNotAvailable" in shown
    assert "'GET /storage/block'" in shown
    assert "%lk_check" in shown


def test_the_settings_list_what_is_assumed_and_where_it_comes_from(lacking, run_cell):
    run_cell("%lk_config guess.bucket_folder_python /job/work")
    shown = run_cell("%lk_config")
    assert "/job/work" in shown
    assert "set by you" in shown
    assert "guess.stream_method" in shown
    assert "guess.stream_method takes one of POST, GET" in run_cell("%lk_config guess.stream_method PUT")


def test_a_check_shows_its_table(lacking, run_cell):
    shown = run_cell("%lk_check --probe-starts")
    assert "What lk_jupyter does" in shown
    assert "[gpu_selection]" in shown
    assert "absent" in run_cell("%lk_config guess.gpu_selection")


def test_a_check_with_a_limit_that_is_too_low_spends_nothing(lacking, run_cell):
    assert "Nothing was spent" in run_cell("%lk_check --spend --max-credits 0.001")
    assert not lacking.runs


def test_the_folder_of_the_bucket_is_found_in_a_run_and_stays_known(lacking, run_cell, driver_frame):
    run_cell("%%lk_run --gpu A100\n1")
    sent = lacking.runs[IDS[0]]["import_files"].replace("\\", "")
    assert '"look": ["mnt/s3"' in sent
    assert "/mnt/s3" not in sent  # the local cloud would start a store for it
    assert Assumptions(lacking.url).resolve("bucket_folder_python").value == "/job/work"
    run_cell("%%lk_run --gpu A100\n2")
    assert '"look": [' not in lacking.runs[IDS[1]]["import_files"].replace("\\", "")
    assert remote_path("x.csv") == "/job/work/x.csv"


def test_outputs_of_a_run_are_shown_where_the_server_takes_control_characters_out(lacking, run_cell, driver_frame):
    driver_frame(lambda data: data.replace("\x1b", "").replace("\x07", ""))
    shown = run_cell("%%lk_run --gpu A100\n3")
    assert "7411" not in shown
    assert Assumptions(lacking.url)["frames"] == "plain"
    assert Assumptions(lacking.url)["bucket_folder_python"] == "/job/work"


def test_a_receipt_says_once_that_the_output_may_be_incomplete(lacking, run_cell):
    lacking.stream = (STREAM, said("begun\n"), RESET)
    shown = run_cell("%%lk_run --gpu A100\n4")
    assert "begun" in shown
    assert shown.count(INCOMPLETE) == 1
    assert shown.count("incomplete") == 1
    lacking.stream = DONE
    assert "incomplete" not in run_cell("%%lk_run --gpu A100\n5")


def test_a_low_balance_names_no_machine_that_the_server_does_not_name(lacking, run_cell):
    lacking.on("GET /billing/credits", {"remaining_credits": 0.5})
    shown = run_cell("%%lk_run --gpu A100\n6")
    assert "0.5000 credits left, enough for 20 min 00 s. " in shown
    assert "None" not in shown


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_cost_of_an_active_run_is_estimated_by_the_clock_of_its_server(lacking, run_cell, hours):
    there = datetime.now(timezone.utc) + timedelta(hours=hours)
    began = (there - timedelta(minutes=60)).isoformat()
    record = {"execution_id": IDS[7], "status": "running", "hardware_profile": "gpu.a100"}
    record |= {"created_at": began, "start_time": began}
    date = format_datetime(there, usegmt=True)
    lacking.on("GET /execution/{}", lambda _: (answer(200, json.dumps(record), "application/json", Date=date),))
    assert "≈ 1.5" in run_cell(f"%lk_status {IDS[7]}")


@pytest.fixture
def driver_frame(lacking):
    """Let each run say where its bucket is, as the driver that travels with it does; return what changes its text."""
    change = [str]

    def stream(_):
        sent = json.loads(lacking.runs[IDS[len(lacking.runs) - 1]]["import_files"])
        nonce = next(json.loads(text)["nonce"] for name, text in sent.items() if name.endswith("_lk_settings.json"))
        packed = b2a_base64(zlib.compress(json.dumps(["place", {"bucket": "/job/work"}]).encode()), newline=False)
        body = b"%s;1-1;0/1;%s" % (nonce.encode(), packed)
        frame = (b"\x1b]7411;%s;%08x\x07\n" % (body, crc32(body))).decode()
        return (STREAM, said("begun\n"), said(change[0](frame)), finished(returnCode=0))

    lacking.on("POST /stream/{}", stream)
    return lambda how: change.__setitem__(0, how)


def test_a_cell_without_options_runs_where_the_server_has_no_bucket(lacking, run_cell):
    shown = run_cell("%%lk_run --gpu A100\nprint(1)")
    assert "✓ completed" in shown
    assert "The record of the changed variables didn't arrive" in shown
    assert len(lacking.runs) == 1
