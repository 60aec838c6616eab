"""A plugin for ceph's tests of S3: one bucket that is there, and the credentials that the API gives for it.

A test that asks for more, such as a second bucket, rights or versions, is skipped when it asks.
"""

import os
import time
from types import SimpleNamespace

import boto3
import pytest
import s3tests.functional as ceph
from botocore.config import Config

from lk_jupyter.api._client import Client

#: What the credentials are good for.
OPERATIONS = {
    "AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload", "DeleteObject",
    "DeleteObjects", "GetObject", "HeadBucket", "HeadObject", "ListMultipartUploads", "ListObjects", "ListObjectsV2",
    "ListParts", "PutObject", "UploadPart", "UploadPartCopy",
}  # fmt: skip

#: Options of requests that are for what the bucket does not have.
BEYOND = {"ACL", "GrantRead", "ObjectLockMode", "SSECustomerKey", "ServerSideEncryption", "StorageClass", "Tagging",
          "VersionId", "WebsiteRedirectLocation"}  # fmt: skip

with Client(os.environ["LK_BASE_URL"], os.environ["LK_API_KEY"]) as client:
    GIVEN = client.storage.credentials()


def beyond(*_, **__):
    pytest.skip("It needs more than one bucket and its objects.")


def checked(params, model, **_):
    if model.name not in OPERATIONS or params.get("Bucket") != GIVEN.bucket_name or BEYOND & {*params}:
        beyond()


FACTS = {
    "endpoint_url": GIVEN.endpoint,
    "aws_access_key_id": GIVEN.access_key,
    "aws_secret_access_key": GIVEN.secret_key,
    "aws_session_token": GIVEN.session_token,
    "region_name": GIVEN.region,
}
CONFIG = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})


def get_client(client_config=None):
    s3 = boto3.client("s3", **FACTS, config=CONFIG.merge(client_config) if client_config else CONFIG)
    s3.meta.events.register("provide-client-params.s3.*", checked)
    return s3


def get_resource():
    s3 = boto3.resource("s3", **FACTS, config=CONFIG)
    s3.meta.client.meta.events.register("provide-client-params.s3.*", checked)
    return s3


def wait_until_empty(bucket):
    """Wait for up to 5 s until no folder of an earlier test is listed."""
    deadline = time.monotonic() + 5
    while bucket.meta.client.list_objects_v2(Bucket=bucket.name, Delimiter="/").get("CommonPrefixes"):
        assert time.monotonic() < deadline, "folders without objects are listed"
        time.sleep(0.02)


class Buckets:
    """Gives the one bucket, empty, once a test."""

    given = False

    def resource(self, name=None):
        if self.given or name not in {None, GIVEN.bucket_name}:
            beyond()
        self.given = True
        bucket = get_resource().Bucket(GIVEN.bucket_name)
        bucket.objects.delete()
        wait_until_empty(bucket)
        for upload in bucket.multipart_uploads.all():
            upload.abort()
        return bucket

    def name(self, client=None, name=None):
        return self.resource(name).name


buckets = Buckets()


@pytest.hookimpl
def pytest_runtest_setup(item):
    buckets.given = False


ceph.configure = ceph.setup = ceph.teardown = lambda: None
ceph.config = SimpleNamespace(
    default_endpoint=GIVEN.endpoint,
    main_access_key=GIVEN.access_key,
    main_secret_key=GIVEN.secret_key,
    storage_classes="",
)
ceph.prefix = GIVEN.bucket_name
for name in dir(ceph):
    if name.startswith("get_") and name not in {"get_prefix", "get_objects_list", "get_parameter_name"}:
        setattr(ceph, name, beyond)
ceph.get_client = get_client
ceph.get_new_bucket = buckets.name
ceph.get_new_bucket_name = lambda: GIVEN.bucket_name
ceph.get_new_bucket_resource = buckets.resource
ceph.get_config_endpoint = lambda: GIVEN.endpoint
