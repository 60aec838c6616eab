"""Files and secrets, called by the client."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from api.calls import calls

from lk_jupyter.api.environment_variables import (
    EnvironmentVariableBatch,
    EnvironmentVariableInput,
    EnvironmentVariables,
)
from lk_jupyter.api.storage import BulkUploadBody, StorageGroup, UploadFileBody
from lk_jupyter.errors import BadRequest, Invalid, NotFound, UsageError


def upload(client, key, content=b"x"):
    return client.storage.upload(UploadFileBody(file=content), key=key)


@calls(StorageGroup.list_files)
def list_files(client, _):
    for n in range(3):
        upload(client, f"listed/{n}", b"12")
    assert [(row.key, row.size) for row in client.storage.list_files("listed/")] == [
        (f"listed/{n}", 2) for n in range(3)
    ]
    assert len(client.storage.list_files("listed/", max_files=2)) == 2
    assert client.storage.list_files("listed/")[0].last_modified.tzinfo


@calls(StorageGroup.upload)
def upload_one(client, _):
    answer = upload(client, "up/one.txt", b"123")
    assert (answer.key, answer.size) == ("up/one.txt", 3)
    with pytest.raises(BadRequest, match="not a key"):
        upload(client, "../out")


@calls(StorageGroup.upload_bulk)
def upload_bulk(client, _):
    answer = client.storage.upload_bulk(BulkUploadBody(files=[b"1", b"22"], folder_prefix="bulk"))
    assert answer.successful_uploads + answer.failed_uploads == answer.total_files == len(answer) == 2


@calls(StorageGroup.download)
def download(client, _):
    upload(client, "down/a ä+%.txt", b"content")
    assert client.storage.download("down/a ä+%.txt").read() == b"content"
    for missing in ("down/none", "../down"):
        with pytest.raises(NotFound):
            client.storage.download(missing)


@calls(StorageGroup.delete)
def delete(client, _):
    upload(client, "del/x")
    assert client.storage.delete("del/x").message
    with pytest.raises(NotFound):
        client.storage.delete("del/x")


@calls(StorageGroup.delete_folder)
def delete_folder(client, _):
    upload(client, "folder/x")
    assert "1 file" in client.storage.delete_folder("folder/").message
    with pytest.raises(UsageError):
        client.storage.delete_folder("")


@calls(StorageGroup.credentials)
def credentials(client, _):
    answer = client.storage.credentials()
    assert answer.expires_at > datetime.now(timezone.utc)
    assert answer.secret_key not in repr(answer)
    assert answer.session_token not in repr(answer)


def variable(name, value="v4lue"):
    return EnvironmentVariableInput(name=name, value=value)


@calls(EnvironmentVariables.upsert)
def upsert(client, _):
    answer = client.environment_variables.upsert(EnvironmentVariableBatch(environment_variables=[variable("B_ONE")]))
    assert "B_ONE" in {row.name for row in answer}
    assert "B_TWO" in {row.name for row in client.environment_variables.upsert(variable("B_TWO"))}
    assert "v4lue" not in repr(variable("B_TWO"))
    with pytest.raises(BadRequest, match="B_THREE is given twice"):
        client.environment_variables.upsert(
            EnvironmentVariableBatch(environment_variables=[variable("B_THREE"), variable("B_THREE")])
        )
    with pytest.raises((UsageError, Invalid, ValueError)):
        client.environment_variables.upsert(EnvironmentVariableInput(name="1x", value=""))


@calls(EnvironmentVariables.list)
def list_variables(client, _):
    client.environment_variables.upsert(variable("LISTED"))
    [row] = [row for row in client.environment_variables.list() if row.name == "LISTED"]
    assert row.value != "v4lue"


@calls(EnvironmentVariables.delete)
def delete_variable(client, _):
    client.environment_variables.upsert(variable("GONE"))
    [row] = [row for row in client.environment_variables.list() if row.name == "GONE"]
    client.environment_variables.delete(row.id)
    assert "GONE" not in {row.name for row in client.environment_variables.list()}
    with pytest.raises(NotFound):
        client.environment_variables.delete(row.id)


@calls(EnvironmentVariables.delete_all)
def delete_all_variables(client, _):
    client.environment_variables.upsert(variable("ANY"))
    assert client.environment_variables.delete_all().message
    assert len(client.environment_variables.list()) == 0
