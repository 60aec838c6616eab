"""Copies of a run: a member of the organization reads its record and starts the same code with the same marks."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from patience import PATIENCE

from lk_jupyter.api import _creation
from lk_jupyter.api._client import Client
from lk_jupyter.api.auth import LoginRequest
from lk_jupyter.config import settings
from lk_jupyter.errors import OutcomeUnknown, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.bucket import checkpoint_key, returned_key
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import KEY, MARK, PREFIX, SHIPPED
from lk_jupyter.remote.values import codec
from lk_jupyter.runs.observers.results import Executed, Returned
from lk_jupyter.runs.reattach import open_run
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit import start
from lk_jupyter.runs.variables.download import UNSIGNED
from lk_jupyter.session import connect

PASSWORD = "correct horse"


class Evil:
    """What executes code where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def forged_state(path):
    """Return the bytes of a run's state whose pickle writes a file."""
    stream = pickle.dumps(Evil(path), 3)
    entry = {"k": "name", "n": "x", "of": "x", "at": 0, "packages": []}
    told = {"entries": [entry], "stream": 0, "nodes": [], "versions": {}, "texts": {}, "detached": []}
    told.update(refused={}, sizes={}, gone=[], ambient={})
    leaves = [{"v": codec.encode_leaf_text(lambda sink: sink(stream)), "size": len(stream)}]
    return json.dumps({"values": {}, "leaves": leaves, "refused": {}, "carry": told}).encode()


@pytest.fixture
def faults(talkative):
    def order(**fault):
        talkative.http.post(f"{talkative.base_url}/_faults", json=fault).raise_for_status()

    yield order
    talkative.http.delete(f"{talkative.base_url}/_faults").raise_for_status()


@pytest.fixture
def owner(talking):
    with connect() as connected:
        yield connected


@pytest.fixture
def member(talkative):
    """A client of another member of the owner's organization."""
    slug, email = talkative.client.user.org().slug, f"{uuid4().hex[:12]}@example.com"
    talkative.add_user(email, PASSWORD)
    talkative.client.orgs.add_member(slug, {"email": email, "role": "member"})
    with Client(talkative.base_url) as visitor:
        pair = visitor.auth.login(LoginRequest(email=email, password=PASSWORD))
    with Client(talkative.base_url, pair.access_token, org=slug) as client:
        yield client


def lose_start(owner, faults, monkeypatch, code="x = 1", **options):
    """Start a run whose answer is lost, and return its record once it has ended."""
    faults(path="/execution/streaming/start", lose_answer=True)
    with monkeypatch.context() as impatient:
        impatient.setattr(_creation, "LOOKS", 0)
        with pytest.raises(OutcomeUnknown):
            owner.run(code, gpu="A100", **options)
    (entry,) = journal().entries(limit=1)
    assert entry.execution_id is None
    run_id = start.find_marked(owner.client, entry.token, entry.request).user_run.execution_id
    run = Run(owner, run_id)
    run.wait(PATIENCE)
    return run.record


def copy_run(client, record, storage, content):
    """Start a copy of a run as a member can: with its code and marks, and other files that send this content."""
    token = record.metadata[REQUEST_KEY]
    storage.put(content, returned_key(token, "values"))
    facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    driver = (SHIPPED / "script" / "run.py").read_text(encoding="utf-8") + (
        "\n\ndef main(namespace):\n"
        "    global _nonce\n"
        f"    _nonce = {record.metadata['lk_frames']!r}\n"
        f"    frame('returned', {facts!r})\n"
    )
    files = {f"{PREFIX}{token[:MARK]}/_lk/script/run.py": driver}
    request = {"code": record.python_code, "file_name": record.file_name, "metadata": record.metadata}
    copied = client.execution.start_streaming(
        {**request, "import_files": json.dumps(files), "execution_type": "gpu.a100", "timeout": 60}
    )
    list(client.follow(copied.execution_id))
    return copied.execution_id


def test_a_members_copy_lowers_no_budget(owner, member, faults, tmp_path, monkeypatch):
    record = lose_start(owner, faults, monkeypatch, carry=True, timeout=600)
    copy_run(member, record, owner.storage, b"")
    owner.client.execution.delete(record.execution_id)
    settings.save("day_budget", "0.27")
    with pytest.raises(UsageError, match="Nothing was sent"):
        owner.run("1", gpu="A100")


def test_a_copy_that_is_followed_all_the_same_lacks_the_key_and_sets_nothing(
    owner, member, faults, tmp_path, monkeypatch
):
    record = lose_start(owner, faults, monkeypatch, carry=True)
    copied = copy_run(member, record, owner.storage, forged_state(tmp_path / "ran"))
    journal().update(record.metadata[REQUEST_KEY], execution_id=copied)
    outputs = Run(owner, copied).outputs()
    assert outputs == {}
    assert UNSIGNED in outputs.missing["state"]
    namespace = {}
    (notice,) = Returned(namespace).ended(Run(owner, copied), Run(owner, copied).record)
    assert UNSIGNED in notice.text
    assert namespace == {}
    assert not (tmp_path / "ran").exists()


def test_a_kernel_that_restarted_reads_what_a_run_signed_and_no_record_has_its_key(owner, talkative):
    run = owner.run("x = [1]", gpu="A100", carry=True)
    list(run.follow())
    run.wait(PATIENCE)
    key = run.messages.key.hex()
    code = f"import lk_jupyter; print(lk_jupyter.connect().get({run.execution_id!r}).outputs())"
    process = [sys.executable, "-c", code]
    restarted = subprocess.run(process, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert restarted.stdout.strip() == "{'x': [1]}", restarted.stderr
    shown = [
        talkative.http.get(f"/execution/{run.execution_id}").text,
        talkative.http.get("/billing/history").text,
        json.dumps(journal().get(run.execution_id).request),
        run.log_path.read_text(),
        repr([run, run.bundle, run.bundle.request]),
        journal().path.read_bytes().decode(errors="replace"),
    ]
    assert not [text for text in shown if key in text]


def test_a_checkpoint_without_the_signature_of_its_run_is_not_resumed_from(owner):
    said = {"sha256": "0" * 64, "count": 1}
    code = (
        f"def lk_checkpoint(folder): ...\nfrom _lk.script import run\nrun._key = b''\nrun.frame('checkpoint', {said})"
    )
    run = owner.run(code, gpu="A100")
    run.result(PATIENCE)
    owner.storage.put(b"forged", checkpoint_key(run.bundle.token))
    with pytest.raises(UsageError, match=r"--resume: the checkpoint of run \w+ isn't signed .*Nothing was sent"):
        owner.run(code, gpu="A100", resume=run.execution_id)


def test_a_cell_of_a_notebook_without_the_signature_of_its_run_is_not_written(tmp_path):
    book = {"cells": [{"cell_type": "code", "source": "1", "outputs": []}], "metadata": {}}
    executed = Executed(book, tmp_path / "out.ipynb")
    executed.saw(Frame("unsigned", {"kind": "cell"}, "1"))
    (notice,) = executed.ended(None, None)
    assert "aren't signed with the key of the run" in notice.text
    assert not (tmp_path / "out.ipynb").exists()


def test_a_run_deletes_the_file_with_its_key_before_the_code_starts(owner):
    code = "import os\nfor folder, _, names in os.walk('..'): print(*names)"
    assert KEY not in owner.run(code, gpu="A100", carry=True).result(PATIENCE).stdout


def test_a_members_copy_of_a_run_whose_start_was_lost_executes_nothing_here(
    owner, member, faults, tmp_path, monkeypatch
):
    record = lose_start(owner, faults, monkeypatch, carry=True)
    copied = copy_run(member, record, owner.storage, forged_state(tmp_path / "ran"))
    run = open_run(owner, journal().get(record.metadata[REQUEST_KEY]))
    assert run.execution_id == record.execution_id != copied
    assert run.outputs()["x"] == 1  # from the run, although the member has overwritten the bucket
    assert not (tmp_path / "ran").exists()
