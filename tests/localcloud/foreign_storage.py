"""Stored files and environment variables, as somebody of another organization tries them."""

from __future__ import annotations

from localcloud.foreign import MARK, own, refused

from lk_jupyter.api._files import Upload
from lk_jupyter.api.environment_variables import EnvironmentVariables
from lk_jupyter.api.storage import BulkUploadBody, StorageGroup, UploadFileBody

#: A key that both use, each in a bucket of their own.
SHARED = "shared.txt"


def body(_):
    return {"body": UploadFileBody(file=Upload(b"jons", name=SHARED)), "key": SHARED}


ROWS = {
    EnvironmentVariables.delete: refused(lambda mira: {"env_var_id": mira.variable}),
    EnvironmentVariables.delete_all: own(),
    EnvironmentVariables.list: own(),
    EnvironmentVariables.upsert: own(lambda _: {"body": {"name": "SHARED", "value": "jons"}}),
    StorageGroup.credentials: own(),
    StorageGroup.delete: refused(lambda mira: {"file_key": mira.stored}),
    StorageGroup.delete_folder: refused(lambda mira: {"folder_prefix": mira.folder}),
    StorageGroup.download: refused(lambda mira: {"file_key": mira.stored}),
    StorageGroup.list_files: own(),
    StorageGroup.upload: own(body),
    StorageGroup.upload_bulk: own(lambda _: {"body": BulkUploadBody(files=[Upload(b"jons", name=SHARED)])}),
}


def made(mira):
    variables = [{"name": name, "value": MARK} for name in ("SHARED", "MIRAS_OWN")]
    kept = mira.environment_variables.upsert({"environment_variables": variables})
    for key in (SHARED, "miras/notes.txt"):
        mira.storage.upload(UploadFileBody(file=Upload(MARK.encode(), name=key)), key=key)
    return {"variable": kept[0].id, "stored": "miras/notes.txt", "folder": "miras/"}
