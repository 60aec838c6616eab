"""Models on GPUs of your own, and vectors."""

import numpy as np
import pandas as pd
import pytest
from magics.people import interrupt_at

from lk_jupyter.inference.embed import LETTERS, TEXTS, split_texts
from lk_jupyter.magics.deployments import ReplicaLog


@pytest.fixture
def ask(talking, run_cell):
    """A notebook that is signed in to a cloud with an upstream; nothing is deployed there afterwards."""
    yield run_cell
    for each in talking.client.inference.list():
        talking.client.inference.stop({"deployment_id": each.deployment_id})


def test_a_deployment_is_priced_started_listed_asked_and_stopped(ask, shell):
    shown = ask("%lk_deploy local/echo --gpu A100 --count 2 --replicas 1-3 --yes --save own")
    assert "plan · local/echo · 2 x gpu.a100 · 1 to 3 replicas · 3.18 credits per hour each" in shown
    short = shell.user_ns["own"][:8]
    assert "✓ running" in shown
    assert f"Chat with it: %%lk_chat {short}" in shown
    row = next(line for line in ask("%lk_deployments").splitlines() if line.startswith(short))
    assert row.split()[1:6] == ["local/echo", "gpu.a100", "✓", "running", "1"]
    assert "✓ running  yes" in ask(f"%lk_deployments {short}")
    assert "You said: hello" in ask(f"%%lk_chat {short}\nhello")
    assert f"■ stopped · local/echo · deployment {short}" in ask(f"%lk_undeploy {short}")
    assert short not in ask("%lk_deployments")
    assert "■ stopped" in ask("%lk_deployments --all")


def test_a_replica_that_fails_is_shown_with_its_log(ask, talking):
    shown = ask("%lk_deploy local/broken --yes")
    assert "✗ failed  no       the engine ended at its start, with exit code 1" in shown
    assert "ERROR local/broken has no weights" in shown
    assert "DeploymentFailed: Deployment" in shown
    assert "%lk_undeploy" in shown
    short = talking.client.inference.list()[0].deployment_id[:8]
    assert "ERROR local/broken has no weights" in ask(f"%lk_deployments {short}")
    assert f"Deployment {short} of local/broken failed" in ask(f"%%lk_chat {short}\nhello")


def test_nothing_starts_before_it_was_agreed(ask, talking, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert "Nothing was started. To skip the question: --yes" in ask("%lk_deploy local/echo")
    assert "1.19 credits per hour" in ask("%lk_deploy local/echo --dry-run")
    assert not list(talking.client.inference.list())


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (
            "%lk_deploy local/ecko",
            "Unknown model 'local/ecko'. Nothing was started. Near: local/echo",
        ),
        ("%lk_deploy local/echo --gpu A1000 -y", "Unknown machine 'A1000'. Nothing was sent. Similar: gpu.a100"),
        ("%lk_deploy local/echo --count 3 -y", "--count must be 1, 2, 4 or 8, got '3'. Nothing was started."),
        ("%lk_deploy local/echo --replicas 3-1 -y", "--replicas takes a number, or minimum and maximum"),
        ("%lk_undeploy 0000", "Unknown deployment '0000'. List them: %lk_deployments"),
        ("%lk_embed texts -m local/echo", "local/echo is for %%lk_chat."),
        ("%lk_embed texts -m local/hash", "Unknown model 'local/hash'. Near: local/hash-embedding."),
    ],
)
def test_a_slip_is_one_line(ask, shell, cell, told):
    shell.user_ns["texts"] = ["a"]
    assert told in ask(cell)


def test_a_log_is_escaped_and_keeps_no_key():
    key = "lk_" + "a1b2c3d4" * 5
    bundle = ReplicaLog("3f0c0000-1", f"<b> {key}")._repr_mimebundle_()
    assert "&lt;b&gt;" in bundle["text/html"]
    assert not any(key in text for text in bundle.values())


def test_a_column_becomes_vectors_in_its_order(ask, shell, upstream):
    shell.user_ns["df"] = pd.DataFrame({"word": ["a" * (n % 7 + 1) for n in range(600)]})
    shown = ask("%lk_embed df.word -m up/embed --save vectors")
    assert shown.startswith("✓ completed · up/embed · 600 texts · ")
    assert "array of float32, 600 by 2" in shown
    vectors = shell.user_ns["vectors"]
    assert vectors.dtype == np.float32
    assert vectors[:, 0].tolist() == [n % 7 + 1 for n in range(600)]
    assert len(upstream.requests) == 3
    ask("%lk_embed df.word -m local/hash-embedding --save vectors")
    assert shell.user_ns["vectors"].shape == (600, 512)


def test_the_plan_of_vectors_shows_their_cost_and_sends_nothing(ask, shell, upstream):
    shell.user_ns["texts"] = ["word " * 4_000] * 100
    assert ask("%lk_embed texts -m local/hash-embedding --dry-run") == (
        "◌ plan · local/hash-embedding · 100 texts · about 500,000 tokens · 0.0100 credits, at most 0.0400 credits\n"
        "  Nothing was sent.\n"
    )
    assert not upstream.requests


def test_texts_are_asked_in_pieces_that_fit():
    assert [len(piece) for piece in split_texts(["a"] * (TEXTS + 1))] == [TEXTS, 1]
    assert [len(piece) for piece in split_texts(["a" * LETTERS, "b", "c"])] == [1, 2]


def test_a_deployment_that_the_credits_pay_for_less_than_ten_minutes_is_refused(make_cloud, run_cell, monkeypatch):
    poor = make_cloud("--credits", "0.5")
    monkeypatch.setenv("LK_BASE_URL", poor.base_url)
    monkeypatch.setenv("LK_API_KEY", poor.api_key)
    shown = run_cell("%lk_deploy local/echo --gpu A100 --replicas 1-2 --dry-run")
    assert "0.5000 credits are left, and this deployment for 10 min may cost 0.5300 credits. Nothing was sent." in shown
    assert "Or use less: --replicas 1" in shown
    assert not poor.client.inference.list()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "/inference/create",
            "A deployment of 'local/echo' may exist and be billed. Check: %lk_deployments. Stop it: %lk_undeploy ID",
        ),
        (
            "/inference/get",
            "stopped waiting; the deployment is still active and billed. Stop it: %lk_undeploy {short}",
        ),
    ],
)
def test_an_interrupted_deployment_is_named_with_the_command_that_ends_its_bill(
    make_cloud, run_cell, monkeypatch, path, told
):
    cloud = make_cloud("--faults")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    interrupting = interrupt_at(cloud, path)
    shown = run_cell("%lk_deploy local/echo --yes")
    interrupting.join()
    made = [each.deployment_id[:8] for each in cloud.client.inference.list()]
    assert told.format(short="".join(made)) in shown
    for short in made:  # a request that was interrupted may have arrived
        assert "■ stopped" in run_cell(f"%lk_undeploy {short}")
    assert not list(cloud.client.inference.list())
