"""The audit log: a line for each change of keys, members, VMs and the like, and for deletions; never a secret."""

import json
import logging
import multiprocessing
import os
import stat
from uuid import uuid4

import pytest

from lk_jupyter.api import _audit
from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.api.auth import ApiKeyCreate
from lk_jupyter.api.environment_variables import EnvironmentVariableInput
from lk_jupyter.api.inference import CreateDeploymentRequest, StopDeploymentRequest
from lk_jupyter.api.orgs import OrgApiKeyCreate, OrgCreate, OrgMemberAdd, OrgMemberRoleUpdate
from lk_jupyter.api.vms import CreateVMRequest, RenameVMRequest
from lk_jupyter.config import settings
from lk_jupyter.errors import LkError, ReadOnlyMode
from lk_jupyter.session import connect
from lk_jupyter.storage.storage import Storage

SECRET = "correct-horse-battery-staple-41"


@pytest.fixture
def audited(home, cloud):
    """A client of the shared cloud, for a user with an empty home, and what the audit log has of its calls."""
    with Client(cloud.base_url, cloud.api_key) as client:
        yield client


def lines(operation=None):
    return [row for row in _audit.entries() if operation in {None, row["operation"]}]


def test_which_operations_are_audited():
    audited = {each.title for each in ENDPOINTS if each.is_audited}
    assert {each.title for each in ENDPOINTS if each.effect == "deletes"} <= audited
    assert {"Auth.create_api_key", "Orgs.add_member", "Orgs.set_role", "Invites.accept", "Vms.create"} <= audited
    assert {"Inference.create", "EnvironmentVariables.upsert", "Mfa.disable", "Vms.rename"} <= audited
    assert not {"Execution.start_streaming", "Storage.upload", "Serverless.chat_completions", "Vms.list"} & audited


def test_each_kind_of_change_is_one_line_with_its_target_and_without_a_secret(audited):
    slug, name = f"audit-{uuid4().hex[:8]}", f"LK_{uuid4().hex[:8].upper()}"
    key = audited.auth.create_api_key(ApiKeyCreate(key_name="laptop"))
    audited.auth.revoke_api_key(key.id)
    audited.orgs.create(OrgCreate(name="Our team", slug=slug))
    audited.orgs.add_member(slug, OrgMemberAdd(email="mira@example.com", role="member"))
    invite = next(iter(audited.orgs.list_invites(slug)))
    audited.orgs.revoke_invite(slug, invite.id)
    shared = audited.orgs.create_api_key(slug, OrgApiKeyCreate(name="ci"))
    audited.orgs.delete(slug)
    audited.environment_variables.upsert(EnvironmentVariableInput(name=name, value=SECRET))
    variable = next(each for each in audited.environment_variables.list() if each.name == name)
    audited.environment_variables.delete(variable.id)
    vm = audited.vms.create(CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100"))
    audited.vms.rename(vm.vm_id, RenameVMRequest(display_name="train"))
    audited.vms.delete(vm.vm_id)
    deployment = audited.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))
    audited.inference.stop(StopDeploymentRequest(deployment_id=deployment.deployment_id))
    found = [(row["operation"], row["target"]) for row in reversed(lines())]
    assert found == [
        ("Auth.create_api_key", f"laptop, {key.id}"),
        ("Auth.revoke_api_key", key.id),
        ("Orgs.create", found[2][1]),
        ("Orgs.add_member", f"{slug}, mira@example.com, member"),
        ("Orgs.revoke_invite", f"{slug}, {invite.id}"),
        ("Orgs.create_api_key", f"{slug}, ci, {shared.id}"),
        ("Orgs.delete", slug),
        ("EnvironmentVariables.upsert", name),
        ("EnvironmentVariables.delete", variable.id),
        ("Vms.create", f"a100, {vm.vm_id}"),
        ("Vms.rename", found[10][1]),
        ("Vms.delete", vm.vm_id),
        ("Inference.create", f"local/echo, {deployment.deployment_id}"),
        ("Inference.stop", deployment.deployment_id),
    ]
    assert found[2][1].startswith(f"Our team, {slug}")
    assert vm.vm_id in found[10][1]
    text = _audit.log_file().read_text()
    assert not [secret for secret in (SECRET, key.api_key, shared.plaintext_key, "AAAA") if secret in text]
    assert {row["status"] for row in lines()} <= {200, 201, 204}
    if os.name != "nt":
        assert stat.S_IMODE(_audit.log_file().stat().st_mode) == 0o600


def test_a_refused_call_is_recorded_with_its_status_and_one_that_was_not_sent_in_read_only_mode_is_not(audited):
    with pytest.raises(LkError):
        audited.orgs.set_role("no-such-team", "nobody", OrgMemberRoleUpdate(role="admin"))
    (row,) = lines()
    assert (row["operation"], row["status"]) == ("Orgs.set_role", 403)
    settings.save("read_only", "on")
    with pytest.raises(ReadOnlyMode):
        audited.orgs.delete("no-such-team")
    assert len(lines()) == 1


def test_a_call_without_an_answer_is_recorded(home):
    with Client("http://127.0.0.1:1", "lk_key", backoff=0) as client, pytest.raises(LkError):
        client.vms.delete("vm-1")
    assert [(row["operation"], row["target"], row["status"]) for row in lines()] == [("Vms.delete", "vm-1", "not sent")]


def test_deletions_in_the_bucket_are_one_line_with_their_number_and_prefix(audited):
    storage, folder = Storage(audited.storage.credentials), f"audit-{uuid4().hex[:8]}"
    for number in range(3):
        storage.put(b"x", f"{folder}/data/{number}.csv")
    storage.put(b"x", ".lk/v/audit-test")
    storage.remove(".lk/v/audit-test")
    storage.remove(f"{folder}/data/0.csv")
    storage.remove(f"{folder}/")
    found = [(row["target"], row["status"]) for row in reversed(lines("Storage.remove"))]
    assert found == [(f"{folder}/data/0.csv", "deleted"), (f"2 objects, {folder}/data/*", "deleted")]


def write_many(number, largest):
    _audit.LARGEST = largest
    for line in range(300):
        _audit.record(f"Writer{number}", [f"{line}-{'x' * 150}"], 200)
    assert not _audit._failed


@pytest.mark.parametrize("largest", [10_000_000, 5_000])
def test_processes_that_write_at_the_same_time_keep_lines_complete(home, largest):
    context = multiprocessing.get_context("fork" if os.name != "nt" else "spawn")
    writers = [context.Process(target=write_many, args=(number, largest)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    rows = [
        json.loads(line) for path in _audit.log_file().parent.glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert all(len(row["target"]) > 150 for row in rows)
    assert len(rows) == 900 if largest > 1_000_000 else 0 < len(rows) < 100


def test_a_log_that_cant_be_written_is_reported_once_and_the_call_is_done(audited, monkeypatch, caplog):
    monkeypatch.setattr(_audit, "_failed", False)
    _audit.log_file().mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "lk_jupyter"):
        for _ in range(2):
            key = audited.auth.create_api_key(ApiKeyCreate(key_name="laptop"))
            audited.auth.revoke_api_key(key.id)
    (message,) = [each.getMessage() for each in caplog.records]
    assert "Can't write the audit log" in message


def test_names_from_elsewhere_and_damaged_lines_stay_one_line_of_text(home):
    _audit.record("Vms.rename", ["a\nb\x1b[2J\u202e", "x" * 5000], 200)
    with _audit.log_file().open("ab") as file:
        file.write(b'{"time": 1}\n\xff\xfe\n[]\n' + b"[" * 10_000 + b"\n")
    (row,) = _audit.entries()
    assert row["target"].startswith("a b")
    assert len(row["target"]) < 1000
    assert not {"\n", "\x1b", "\u202e"} & set(row["target"])


def test_the_log_is_a_table_in_python_and_in_a_notebook(audited, signed_in):
    key = audited.auth.create_api_key(ApiKeyCreate(key_name="laptop"))
    audited.auth.revoke_api_key(key.id)
    with connect() as session:
        table = session.history(audit=True)
        assert list(table["operation"]) == ["Auth.revoke_api_key", "Auth.create_api_key"]
        assert str(table["time"].dtype).startswith("datetime64[")
        assert list(session.history("laptop", audit=True, since="1h")["target"]) == [f"laptop, {key.id}"]
        with pytest.raises(LkError, match="--audit and --machine can't be combined"):
            session.history(audit=True, machine="a100")
