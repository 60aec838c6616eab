"""What is assumed of a server: where a value comes from, what is stored of it, and what each answer teaches."""

from __future__ import annotations

import json
import logging
import stat
from decimal import Decimal

import pytest
from conftest import for_each
from stand_in import DONE, IDS, KEY, STREAM, StandIn, event, said

from lk_jupyter import session
from lk_jupyter.api import _creation
from lk_jupyter.api.serverless import ChatCompletionParameters, ChatCompletionRequest, ChatMessage
from lk_jupyter.config import settings
from lk_jupyter.config.assumptions import ASSUMPTIONS, Assumptions, servers_file
from lk_jupyter.connection import signin
from lk_jupyter.errors import NotFound, OperationNotAvailable, UsageError
from lk_jupyter.inference.batch import Job, Work
from lk_jupyter.inference.batch_file import open_batch_file
from lk_jupyter.inference.catalogue import read_catalogue
from lk_jupyter.inference.chat_target import find_answerer
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.runs.abort import abort_soon
from lk_jupyter.runs.notebooks.servers import start_server
from lk_jupyter.storage.remote import remote_path

pytestmark = pytest.mark.usefixtures("home")

SERVER = "https://cloud.example"
ABSENT = (404, {"detail": "Not Found"})
CHAT = ChatCompletionRequest(model="m", messages=[ChatMessage(role="user", content="hi")])
ANSWER = {"choices": [{"message": {"content": "hello"}}]}


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(_creation, "LOOK_PAUSE", 0)
    found = StandIn()
    yield found
    found.close()


@pytest.fixture
def connected(cloud):
    with session.connect(cloud.url, KEY) as found:
        yield found


@pytest.fixture
def assumed(cloud):
    return Assumptions(cloud.url)


def shown_by(connected):
    """Start a run, follow it, and return what it wrote."""
    return "".join(getattr(event, "content", "") for event in connected.run("1", gpu="A100").follow())


# Where a value comes from


def test_without_anything_found_the_default_holds():
    assert Assumptions(SERVER).resolve("frames") == ("survive", "default")


def test_what_a_check_found_goes_before_the_default_and_says_when():
    Assumptions(SERVER).store_check({"frames": "plain"})
    value, source = Assumptions(SERVER).resolve("frames")
    assert value == "plain"
    assert source.startswith("found by %lk_check on 20")


def test_what_the_user_set_goes_before_what_is_found():
    assumed = Assumptions(SERVER)
    assumed.set("frames", "survive")
    assumed.store_check({"frames": "plain"})
    assumed.store_finding("frames", "plain")
    assert assumed.resolve("frames") == ("survive", "set by you")


def test_a_value_that_the_user_takes_back_is_the_default_again():
    Assumptions(SERVER).set("frames", "plain")
    Assumptions(SERVER).set("frames", None)
    assert Assumptions(SERVER).resolve("frames").source == "default"


def test_each_server_has_its_own():
    Assumptions(SERVER).store_finding("chat_prefix", "/openai/v1")
    assert Assumptions("https://other.example")["chat_prefix"] != "/openai/v1"


def test_only_its_owner_can_read_what_was_found():
    Assumptions(SERVER).store_finding("frames", "plain")
    assert stat.S_IMODE(servers_file().stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bucket_folder_python", "mnt/s3"),
        ("chat_prefix", "https://elsewhere.example/v1"),
        ("longest_run", "10 minutes"),
        ("final_words", "finalized"),
        ("absent_operations", "batches"),
        ("deployment_gpu_field", "gpu"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_form(name, value):
    with pytest.raises(UsageError, match=f"guess.{name} takes .*{value}.*Nothing was changed"):
        settings.save(f"guess.{name}", value)
    assert not servers_file().exists()


def test_an_assumption_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"'stream_metod'\. Did you mean stream_method"):
        settings.save("guess.stream_metod", "GET")


@for_each(ASSUMPTIONS, lambda each: each.name)
def test_every_default_and_alternative_is_a_value(each):
    for value in (each.default, *each.alternatives):
        assert each.normalize(value) == value


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "7", '{"https://cloud.example": 1}', json.dumps({SERVER: {"frames": {"value": "odd", "by": "you"}}})],
)
def test_content_that_cannot_be_read_is_ignored_with_one_word(content, caplog):
    servers_file().parent.mkdir(parents=True)
    servers_file().write_text(content, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "lk_jupyter"):
        assert {Assumptions(SERVER)["frames"] for _ in range(3)} == {"survive"}
    assert caplog.text.count("ignored") == 1


def test_one_odd_entry_leaves_the_others():
    Assumptions(SERVER).set("frames", "plain")
    stored = json.loads(servers_file().read_text())
    stored[SERVER]["no_such"] = stored[SERVER]["frames"]
    servers_file().write_text(json.dumps(stored))
    assert Assumptions(SERVER)["frames"] == "plain"


# What reads them


def test_paths_in_a_run_begin_with_the_folder_of_the_server_in_use():
    settings.save("guess.bucket_folder_python", "/job/work")
    assert remote_path("data/x.csv") == "/job/work/data/x.csv"
    assert remote_path("data/x.csv", "image") == "/mnt/s3/data/x.csv"


def test_the_longest_time_limit_is_that_of_the_server_in_use():
    assert settings.setting("max_timeout") == 600
    Assumptions(settings.setting("base_url")).store_finding("longest_run", "300")
    assert settings.setting("max_timeout") == 300


def test_a_word_for_an_end_that_was_found_ends_a_run(cloud, connected, assumed):
    assumed.set("final_words", "finalized=failed")
    cloud.word, cloud.stream = "finalized", (STREAM, said("x\n"))
    assert connected.run("1", gpu="A100").status == "failed"


# What an answer teaches


def test_chats_are_found_where_the_server_has_them_and_go_there_from_then_on(cloud, connected, assumed):
    cloud.on("POST /openai/v1/chat/completions", ANSWER)
    for _ in range(2):
        assert connected.client.serverless.chat_completions(CHAT).text == "hello"
    assert cloud.calls["POST /serverless/chat/completions"] == 1
    assert assumed["chat_prefix"] == "/openai/v1"


def test_a_model_that_is_not_there_is_no_reason_to_look_elsewhere(cloud, connected):
    cloud.on("POST /serverless/chat/completions", (404, {"detail": "model not found"}))
    with pytest.raises(NotFound, match="model not found"):
        connected.client.serverless.chat_completions(CHAT)
    assert not cloud.calls["POST /openai/v1/chat/completions"]


def test_a_stream_that_takes_another_method_is_opened_with_it(cloud, connected, assumed):
    cloud.on("POST /stream/{}", (405, {"detail": "Method Not Allowed"})).on("GET /stream/{}", DONE)
    for _ in range(2):
        assert shown_by(connected) == "hello\n"
    assert assumed["stream_method"] == "GET"
    assert cloud.calls["POST /stream/{}"] == 1


def test_a_stream_that_wants_the_key_gets_it(cloud, connected, assumed):
    def stream(request):
        signed = request.headers.get("authorization") == f"Bearer {KEY}"
        return DONE if signed else (401, {"detail": "Not authenticated"})

    cloud.on("POST /stream/{}", stream)
    assert shown_by(connected) == "hello\n"
    assert assumed["stream_auth"] == "bearer"


def test_the_stream_of_another_host_never_gets_the_key(cloud, connected, assumed):
    assumed.set("stream_auth", "bearer")
    other = StandIn()
    try:
        seen = []
        other.on("POST /stream/x", lambda request: seen.append(request.headers) or (401, {"detail": "no"}))
        cloud.on(
            "POST /execution/streaming/start",
            lambda request: {"execution_id": cloud.taken(request), "streaming_url": f"{other.url}/api/v1/stream/x"},
        )
        shown_by(connected)  # a stream that is refused ends nothing: the run's own server tells its end
        assert seen
        assert not any("authorization" in headers for headers in seen)
    finally:
        other.close()


def test_signing_in_uses_another_operation_where_the_usual_one_is_missing(cloud):
    cloud.on("GET /machine-types", ABSENT).on("GET /user/status", {"user_id": "u"})
    signin.sign_in(KEY, cloud.url, typed_in="the test")
    assert Assumptions(cloud.url)["signin_lookup"] == "GET /user/status"


def test_a_run_starts_on_a_server_that_lists_no_machines(cloud, connected):
    cloud.on("GET /machine-types", ABSENT)
    connected.run("1", gpu="A100").result()
    assert cloud.runs[IDS[0]]["execution_type"] == "gpu.a100"


# Operations that are not there


def test_an_operation_that_is_not_there_is_an_error_that_names_it_and_the_check(connected):
    with pytest.raises(OperationNotAvailable, match=r"'GET /batches'(?s:.*)%lk_check") as caught:
        connected.client.batches.list()
    assert isinstance(caught.value, NotFound)
    assert caught.value.operation == "GET /batches"


def test_an_object_that_is_not_there_is_not_taken_for_an_operation(cloud, connected):
    cloud.on("GET /execution/{}", ABSENT)
    with pytest.raises(NotFound) as caught:
        connected.client.execution.get(IDS[0])
    assert not isinstance(caught.value, OperationNotAvailable)


def test_an_operation_that_the_server_is_known_to_lack_is_said_of_an_object_too(cloud, connected, assumed):
    cloud.on("GET /execution/{}", ABSENT)
    assumed.set("absent_operations", "GET /execution/{execution_id}")
    with pytest.raises(OperationNotAvailable):
        connected.client.execution.get(IDS[0])


def test_an_abort_that_the_server_does_not_have_ends_at_once_and_says_that_the_run_may_go_on(cloud, connected):
    cloud.word = "running"
    cloud.on("POST /workloads/abort/{}", (405, {"detail": "Method Not Allowed"}))
    run = connected.run("1", gpu="A100")
    abort = abort_soon(connected.client, run.execution_id)
    abort.wait_for_answer()
    assert abort.has_arrived
    assert not abort.ended.is_set()
    assert "may still be active" in abort.words


# Other ways, where an operation is not there


@pytest.fixture
def models(cloud):
    cloud.on("GET /serverless/models", {"data": [{"id": "m"}]})
    meters = ("prompt", "completion")
    rows = [
        {
            "meter_slug": f"serverless_inference_{meter}_tokens",
            "applies_to": {"deployment_id": "serverless:m"},
            "unit_price": "0.001",
        }
        for meter in meters
    ]
    return cloud.on("GET /pricing", {"prices": rows})


def streamed(text):
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return (STREAM, event({"choices": [{"delta": {"content": text}}], "usage": usage}), b"data: [DONE]\n\n")


def job_of(connected, *prompts):
    return Job(read_catalogue(connected).find("m", "chat"), list(prompts), None, {"max_tokens": 8})


def test_rows_are_asked_as_chats_where_there_are_no_batches(connected, models, assumed):
    def answer(request):
        return streamed(request.json["messages"][0]["content"].upper())

    models.on("POST /serverless/chat/completions", answer)
    job = job_of(connected, "one", "two", "three")
    with open_batch_file(job.key) as file:
        work = Work(connected, job, file)
        states = [progress.state for progress in work.steps()]
        result = work.result()
    assert [result.answers[row].text for row in range(3)] == ["ONE", "TWO", "THREE"]
    assert result.cost == 3 * 5 * Decimal("0.001")
    assert any("no batches" in state for state in states)
    assert assumed["batch_prefix"] == "absent"
    assert all(body["max_tokens"] == 8 for body in models.bodies["POST /serverless/chat/completions"])
    with open_batch_file(job.key) as file:
        assert list(Work(connected, job, file).steps())[-1].answered == 3
    assert models.calls["POST /serverless/chat/completions"] == 3


def test_a_row_whose_chat_was_lost_is_not_asked_again(connected, models, assumed):
    assumed.set("batch_prefix", "absent")
    models.on("POST /serverless/chat/completions", ())
    job = job_of(connected, "one")
    with open_batch_file(job.key) as file:
        work = Work(connected, job, file)
        assert list(work.steps())[-1].failed == 1
        assert "may be billed" in work.result().failures[0].message
    assert models.calls["POST /serverless/chat/completions"] == 1


def test_batches_go_where_the_server_has_them(connected, models, assumed):
    assumed.store_finding("batch_prefix", "/openai/v1")
    models.on("GET /openai/v1/batches", {"data": [{"id": "b1", "status": "completed"}]})
    assert [batch.id for batch in connected.client.batches.list()] == ["b1"]
    assert models.calls["GET /openai/v1/batches"] == 1


def test_a_router_that_is_no_model_is_asked_for_one_first_from_then_on(connected, models, assumed):
    def answer(request):
        return streamed("hi") if request.json["model"] == "m" else (404, {"detail": "model not found"})

    models.on("POST /serverless/chat/completions", answer).on("POST /serverless/route", {"model": "m"})
    request = ChatCompletionParameters(messages=CHAT.messages)
    for _ in range(2):
        assert "".join(piece.text for piece in find_answerer(connected, "lyceum/router").ask(request)) == "hi"
    assert assumed["router_prefix"] == "route"
    assert models.calls["POST /serverless/chat/completions"] == 3


def test_a_router_with_another_address_is_asked_there(connected, models, assumed):
    assumed.set("router_prefix", "/api/v2/external")
    models.on("POST /chat/completions", streamed("hi"))
    request = ChatCompletionParameters(messages=CHAT.messages)
    assert "".join(piece.text for piece in find_answerer(connected, "lyceum/router").ask(request)) == "hi"
    assert not models.calls["POST /serverless/chat/completions"]


def test_the_words_of_a_refused_time_limit_are_the_limit_of_a_hosted_server_from_then_on(cloud, connected, assumed):
    limit = [{"loc": ["body", "timeout"], "msg": "Input should be less than or equal to 200", "type": "le"}]
    cloud.on(
        "POST /execution/image/start",
        lambda request: (422, {"detail": limit}) if request.json["timeout"] > 200 else {"execution_id": IDS[0]},
    )
    for _ in range(2):
        start_server(connected, ServerOptions(gpu="A100"))
    assert assumed["notebook_limit"] == "200"
    assert [body["timeout"] for body in cloud.bodies["POST /execution/image/start"]] == [600, 200, 200]
