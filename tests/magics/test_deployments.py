"""Models on GPUs of your own, and vectors."""

import numpy as np
import pandas as pd
import pytest

from lk_jupyter.inference.embed import LETTERS, TEXTS, pieces
from lk_jupyter.magics.deployments import ReplicaLog


@pytest.fixture
def ask(talking, run_cell):
    """A notebook that is signed in to a cloud with an upstream; nothing is deployed there afterwards."""
    yield run_cell
    for each in talking.client.inference.list():
        talking.client.inference.stop({"deployment_id": each.deployment_id})


def test_a_deployment_is_priced_started_listed_asked_and_stopped(ask, shell):
    shown = ask("%lk_deploy local/echo --gpu A100 --count 2 --replicas 1-3 --yes --save own")
    assert "plan · local/echo · 2 x gpu.a100 · 1 to 3 replicas · 3.18 credits an hour for each" in shown
    short = shell.user_ns["own"][:8]
    assert "✓ running" in shown
    assert f"Talk to it: %%lk_chat {short}" in shown
    row = next(line for line in ask("%lk_deployments").splitlines() if line.startswith(short))
    assert row.split()[1:6] == ["local/echo", "gpu.a100", "✓", "serves", "1"]
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
    assert f"Deployment {short} of local/broken has failed" in ask(f"%%lk_chat {short}\nhello")


def test_nothing_starts_before_it_was_agreed(ask, talking, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert "Nothing was started. --yes starts without asking." in ask("%lk_deploy local/echo")
    assert "1.19 credits an hour" in ask("%lk_deploy local/echo --plan")
    assert not list(talking.client.inference.list())


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (
            "%lk_deploy local/ecko",
            "There is no model 'local/ecko' to deploy. Near: local/echo",
        ),
        ("%lk_deploy local/echo --gpu A1000 -y", "No machine is called 'A1000'. Near: gpu.a100"),
        ("%lk_deploy local/echo --replicas 3-1 -y", "--replicas takes a number, or the least and the most"),
        ("%lk_undeploy 0000", "There is no deployment '0000'. %lk_deployments lists yours."),
        ("%lk_embed texts -m local/echo", "local/echo is for %%lk_chat."),
        ("%lk_embed texts -m local/hash", "There is no model 'local/hash'. Near: local/hash-embedding."),
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


def test_texts_are_asked_in_pieces_that_fit():
    assert [len(piece) for piece in pieces(["a"] * (TEXTS + 1))] == [TEXTS, 1]
    assert [len(piece) for piece in pieces(["a" * LETTERS, "b", "c"])] == [1, 2]
