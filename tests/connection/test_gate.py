"""Budgets count everything that spends, whoever sends it: VMs, deployments, batches, chats, runs of the raw client."""

import threading
import time
from decimal import Decimal

import pytest
from conftest import for_each

from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.api._files import Upload
from lk_jupyter.api.batches import CreateBatchRequest
from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    GpuSelectionRequest,
    StreamingExecutionRequest,
)
from lk_jupyter.api.files import BatchFileUpload
from lk_jupyter.api.inference import CreateDeploymentRequest, StopDeploymentRequest
from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest
from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.config import settings
from lk_jupyter.connection.budget import budget_usage, list_exceeded_budgets
from lk_jupyter.connection.gate import _EXPENSES, costs_at_most
from lk_jupyter.errors import ApiError, NotFound, UsageError
from lk_jupyter.executor import Executor
from lk_jupyter.inference.clients import anthropic, openai
from lk_jupyter.journal import journal
from lk_jupyter.journal.charges import charge_book
from lk_jupyter.options.runs import ServerOptions, check
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.session import connect

pytestmark = pytest.mark.usefixtures("signed_in")

VM = CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100", display_name="box")
ECHO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def session(signed_in, cloud):
    with connect() as session:
        yield session
    for vm in cloud.client.vms.list():
        cloud.client.vms.delete(vm.vm_id)
    for deployment in cloud.client.inference.list():
        cloud.client.inference.stop(StopDeploymentRequest(deployment_id=deployment.deployment_id))


@pytest.fixture(autouse=True)
def own_journal(tmp_path, monkeypatch):
    """A journal that no other test has written to."""
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "journal.sqlite"))
    yield
    journal.close_all()


def chat(**more):
    return ChatCompletionRequest(model="local/echo", messages=ECHO, **more)


#: Kind → how it starts by the raw client.
STARTS = {
    "a run": lambda client: client.execution.start_streaming(
        StreamingExecutionRequest(code="1", execution_type="gpu.a100", timeout=60)
    ),
    "a container": lambda client: client.execution.start_image(
        DockerExecutionRequest(docker_image_ref="python:3.11", execution_type="gpu.a100", timeout=60)
    ),
    "a stack of containers": lambda client: client.execution.start_compose(
        DockerComposeExecutionRequest(compose_file_code="services: {}", execution_type="gpu.a100", timeout=60)
    ),
    "a comparison of GPUs": lambda client: client.execution.start_gpu_selection(
        GpuSelectionRequest(code="1", timeout=60)
    ),
    "a VM": lambda client: client.vms.create(VM),
    "a deployment": lambda client: client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo")),
    "a batch": lambda client: client.batches.create(CreateBatchRequest(input_file_id="file-1")),
    "a chat": lambda client: client.serverless.chat_completions(chat()),
    "a streamed chat": lambda client: list(client.serverless.stream_chat_completions(chat())),
    "a chat of OpenAI's path": lambda client: client.openai.chat_completions(chat()),
    "a streamed chat of OpenAI's path": lambda client: list(client.openai.stream_chat_completions(chat())),
    "an embedding": lambda client: client.serverless.embeddings(
        EmbeddingRequest(model="local/hash-embedding", input="x" * 1000)
    ),
    "an embedding of OpenAI's path": lambda client: client.openai.embeddings(
        EmbeddingRequest(model="local/hash-embedding", input="x" * 1000)
    ),
}


def state_of(cloud):
    client = cloud.client
    lists = (client.vms.list(), client.inference.list(), client.batches.list(), client.workloads.list())
    return (*(len(list(rows)) for rows in lists), client.billing.history().total)


@for_each(list(STARTS))
def test_whatever_spends_is_refused_beyond_a_budget_before_it_is_sent(kind, session, cloud):
    settings.save("day_budget", "0.0000000001")
    before = state_of(cloud)
    with pytest.raises(UsageError, match=r"The day budget .*Nothing was sent\.") as refusal:
        STARTS[kind](session.client)
    assert "%lk_config day_budget" in str(refusal.value)
    assert state_of(cloud) == before
    assert charge_book().charges(session.base_url) == []


#: Kind → how a session starts it.
RUNS = {
    "a cell": lambda session: session.run("1", gpu="A100"),
    "a container": lambda session: session.run_image("python:3.11", "true", gpu="A100"),
    "a stack of containers": lambda session: session.run_compose("services: {a: {image: alpine}}", gpu="A100"),
    "a hosted Jupyter server": lambda session: session.start_notebook(gpu="A100"),
    "a session": lambda session: session.warm_python("warm", gpu="A100").run_code("1"),
    "a kernel": lambda session: HostedKernel.start(session, check(ServerOptions, {"gpu": "A100"}), threading.Event()),
    "several runs": lambda session: session.fan_out("1", gpu="A100,H100"),
    "an executor": lambda session: Executor(gpu="A100", session=session).submit(abs, -1).result(),
}


@for_each(list(RUNS))
def test_every_kind_of_run_is_refused_beyond_a_budget_before_it_is_sent(kind, session, cloud):
    settings.save("day_budget", "0.0000000001")
    before = state_of(cloud)
    with pytest.raises(UsageError, match=r"The day budget .*Nothing was sent\."):
        RUNS[kind](session)
    assert state_of(cloud) == before


CELLS = '[{"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": null}]'


def test_a_notebook_run_is_refused_beyond_a_budget(session, cloud, tmp_path):
    settings.save("day_budget", "0.0000000001")
    before, path = state_of(cloud), tmp_path / "one.ipynb"
    path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'.replace("[]", CELLS))
    with pytest.raises(UsageError, match=r"The day budget .*Nothing was sent\."):
        session.run_notebook(str(path), gpu="A100")
    assert state_of(cloud) == before


FOREIGN = {
    "a chat of OpenAI's client": (openai, lambda client: client.chat.completions.create(model="m", messages=ECHO)),
    "an embedding of OpenAI's client": (openai, lambda client: client.embeddings.create(model="m", input="x" * 999)),
    "a batch of OpenAI's client": (
        openai,
        lambda client: client.batches.create(
            input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
        ),
    ),
    "a message of Anthropic's client": (
        anthropic,
        lambda client: client.messages.create(model="claude-lyceum-echo", messages=ECHO, max_tokens=5),
    ),
}


@pytest.mark.nightly
@for_each(list(FOREIGN))
def test_the_clients_of_other_packages_spend_no_more_than_a_budget(kind, session, cloud):
    settings.save("day_budget", "0.0000000001")
    before, (make, ask) = state_of(cloud), FOREIGN[kind]
    with make(session=session) as client, pytest.raises(Exception, match=r".") as refusal:  # they wrap what is raised
        ask(client)
    assert "The day budget" in "".join(map(str, _causes(refusal.value)))
    assert state_of(cloud) == before


def _causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_a_chat_of_another_client_counts_with_its_most(session):
    settings.save("day_budget", "1")
    with openai(session=session) as client:
        client.chat.completions.create(model="local/echo", messages=ECHO, max_tokens=100)
    [charge] = charge_book().charges(session.base_url)
    assert charge.cost == charge.most > 0
    assert not charge.is_active


def test_every_operation_that_spends_has_a_price():
    assert {each.title for each in ENDPOINTS if each.effect == "spends"} == set(_EXPENSES)


def test_a_vm_needs_the_budget_of_ten_minutes_and_the_raise_that_the_refusal_names_is_enough(session, cloud):
    settings.save("day_budget", "0.1")
    with pytest.raises(UsageError, match=r"VM 'box' for 10 min may cost 0\.26\d\d credits") as refusal:
        session.client.vms.create(VM)
    settings.save("day_budget", str(refusal.value).partition("day_budget ")[2].partition(".\n")[0].rstrip("."))
    session.client.vms.create(VM)
    assert [vm.display_name for vm in cloud.client.vms.list(include_terminated=False)] == ["box"]


def test_an_active_vm_counts_with_the_cost_until_its_end_and_then_with_its_time(session):
    settings.save("notebook_budget", "1.7")
    vm = session.client.vms.create(VM)
    with pytest.raises(UsageError, match=r"may still be used by active runs and active VMs, and this run may cost"):
        session.run("1", gpu="A100", timeout=600)
    [charge] = charge_book().charges(session.base_url)
    assert charge.resource == vm.vm_id
    charge_book().update(charge.token, begins=charge.begins - 3 * 3600)
    settings.save("notebook_budget", "100")
    [words] = budget_usage(session)
    assert f"VMs {charge.rate * 3:.2f}" in words


def test_a_vm_of_yesterday_counts_today_with_its_time_of_today(session):
    settings.save("day_budget", "100")
    session.client.vms.create(VM)
    [charge] = charge_book().charges(session.base_url)
    charge_book().update(charge.token, begins=charge.begins - 30 * 86_400)
    [words] = budget_usage(session)
    spent = Decimal(words.partition(" credits")[0])
    assert 0 < spent <= charge.rate * 24


def test_a_vm_that_was_deleted_costs_no_more(session):
    settings.save("day_budget", "2")
    vm = session.client.vms.create(VM)
    session.client.vms.delete(vm.vm_id)
    session.client.vms.create(VM)


def test_a_vm_that_was_deleted_elsewhere_costs_no_more(session, cloud):
    settings.save("day_budget", "2")
    vm = session.client.vms.create(VM)
    cloud.client.vms.delete(vm.vm_id)
    session.client.vms.create(VM)


def test_a_vm_that_was_refused_reserves_nothing(session):
    settings.save("day_budget", "2")
    with pytest.raises(ApiError):
        session.client.vms.create(VM.model_copy(update={"volume_ids": ["none"]}))
    session.client.vms.create(VM)


def test_a_vm_that_started_without_a_budget_counts_in_one_that_is_set_later(session):
    session.client.vms.create(VM)
    settings.save("day_budget", "2")
    with pytest.raises(UsageError, match="active VMs"):
        session.client.vms.create(VM)


def test_a_vm_without_a_price_does_not_go_with_a_budget(session):
    settings.save("day_budget", "100")
    with pytest.raises(UsageError, match=r"VMs with z9000 have no published price\. .* Nothing was sent\."):
        session.client.vms.create(VM.model_copy(update={"hardware_profile": "z9000"}))


def test_a_deployment_counts_until_it_is_stopped(session):
    settings.save("day_budget", "2")
    made = session.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))
    with pytest.raises(UsageError, match="active deployments"):
        session.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))
    session.client.inference.stop(StopDeploymentRequest(deployment_id=made.deployment_id))
    session.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))


def test_a_deployment_reserves_as_many_replicas_as_it_may_have(session):
    settings.save("day_budget", "0.5")
    with pytest.raises(UsageError, match=r"--replicas 1"):
        session.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo", max_replicas=3))


def test_a_chat_counts_with_what_its_answer_cost(session):
    settings.save("day_budget", "1")
    session.client.serverless.chat_completions(chat(max_tokens=100))
    list(
        session.client.serverless.stream_chat_completions(chat(max_tokens=100, stream_options={"include_usage": True}))
    )
    whole, streamed = charge_book().charges(session.base_url)
    assert 0 < whole.cost < whole.most
    assert streamed.cost == whole.cost
    assert not whole.is_active


def test_a_chat_that_fails_reserves_nothing(session):
    settings.save("day_budget", "1")
    with pytest.raises(UsageError, match="no published price"):
        session.client.serverless.chat_completions(chat(max_tokens=9).model_copy(update={"model": "none/such"}))
    assert charge_book().charges(session.base_url) == []


def test_a_batch_counts_with_what_its_caller_states(session):
    settings.save("day_budget", "1")
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "local/echo", '
    line += b'"messages": [{"role": "user", "content": "hello"}]}}\n'
    file = session.client.files.upload(BatchFileUpload(file=Upload(line, name="in.jsonl")))
    with costs_at_most(Decimal("0.9")):
        batch = session.client.batches.create(CreateBatchRequest(input_file_id=file.id))
    [charge] = charge_book().charges(session.base_url)
    assert (charge.kind, charge.resource, charge.most) == ("batch", batch.id, Decimal("0.9"))
    with costs_at_most(Decimal("0.2")), pytest.raises(UsageError, match="active batches"):
        session.client.batches.create(CreateBatchRequest(input_file_id=file.id))


def test_a_run_of_the_raw_client_counts_with_what_it_cost_once_it_has_ended(session):
    settings.save("day_budget", "0.04")
    run = STARTS["a run"](session.client)
    while session.client.execution.status(run.execution_id).status != "completed":
        time.sleep(0.05)
    STARTS["a run"](session.client)


def test_of_many_vms_at_the_same_time_only_as_many_start_as_the_budget_allows(session, cloud):
    settings.save("day_budget", "4")
    barrier, errors = threading.Barrier(6), []

    def rent():
        with connect() as other:
            barrier.wait()
            try:
                other.client.vms.create(VM)
            except UsageError as error:
                errors.append(error)

    threads = [threading.Thread(target=rent) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    prices = [charge.rate for charge in charge_book().charges(session.base_url)]
    assert len(prices) == 6 - len(errors) == len(list(cloud.client.vms.list(include_terminated=False)))
    assert 0 < sum(prices) <= 4


def test_a_vm_that_exceeds_its_budget_is_reported_and_never_deleted(session, cloud):
    settings.save("day_budget", "2")
    session.client.vms.create(VM)
    assert list_exceeded_budgets(session) == []
    [charge] = charge_book().charges(session.base_url)
    charge_book().update(charge.token, rate=Decimal(1_000_000), begins=charge.begins - 1)
    [words] = list_exceeded_budgets(session)
    assert "The day budget of this computer, 2 credits, is exceeded" in words
    assert "Still active: VM 'box'. End it: %lk_vm delete NAME" in words
    assert [vm.display_name for vm in cloud.client.vms.list(include_terminated=False)] == ["box"]


def test_a_budget_of_a_notebook_counts_its_vms_alone(session):
    settings.save("notebook_budget", "2")
    session.client.vms.create(VM)
    [charge] = charge_book().charges(session.base_url)
    charge_book().update(charge.token, notebook="other.ipynb")
    session.client.vms.create(VM)


def test_nothing_is_sent_when_the_charges_cannot_be_recorded(session, cloud, tmp_path, monkeypatch):
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "file" / "journal.sqlite"))
    (tmp_path / "file").write_text("not a folder")
    settings.save("day_budget", "100")
    with pytest.raises(UsageError, match="can't be enforced, so nothing was sent"):
        session.client.vms.create(VM)
    assert list(cloud.client.vms.list(include_terminated=False)) == []


def test_a_question_to_a_stopped_deployment_reserves_nothing(session):
    settings.save("day_budget", "0.000001")
    with pytest.raises(NotFound):
        session.client.iris.chat_completions({"messages": ECHO}, deployment_id="0" * 8)
