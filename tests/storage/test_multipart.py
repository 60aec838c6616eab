"""Uploads in parts, where the bucket no longer knows them."""

import pytest

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._multipart import Multipart


@pytest.fixture
def wire(storage):
    return storage._wire


def upload_of(wire, key, content):
    """Return an upload of one part that only has to be completed, and the part."""
    upload = Multipart.begin(wire, key, [])
    return upload, {1: upload.send(1, content, None)}


def test_an_upload_that_an_earlier_try_completed_is_complete(wire, storage):
    upload, parts = upload_of(wire, "mp/done", b"ours")
    upload.complete(parts)
    upload.complete(parts)  # as after an answer that was lost
    assert storage.get_bytes("mp/done") == b"ours"


def test_an_upload_that_the_bucket_lost_is_not_taken_for_the_object_of_another(wire, storage):
    storage.put(b"another", "mp/lost")
    upload, parts = upload_of(wire, "mp/lost", b"ours")
    upload.abort()
    with pytest.raises(StorageError, match=r"lost the upload of 'mp/lost'. Upload it again"):
        upload.complete(parts)
    assert storage.get_bytes("mp/lost") == b"another"


def test_an_upload_that_the_bucket_lost_is_not_taken_for_complete_where_no_object_is(wire, storage):
    upload, parts = upload_of(wire, "mp/none", b"ours")
    upload.abort()
    with pytest.raises(StorageError, match=r"lost the upload of 'mp/none'"):
        upload.complete(parts)
    assert not storage.exists("mp/none")
