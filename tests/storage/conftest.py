import os

import boto3
import pytest
from botocore.config import Config
from cloud_process import forked
from patience import PATIENCE
from storage.between import Network, cut_small, transfer

from lk_jupyter.storage.storage import Storage


@pytest.fixture
def issue(cloud, home):
    return cloud.client.storage.credentials


@pytest.fixture
def storage(issue):
    """The bucket of the shared cloud, for a user who has an empty home."""
    return Storage(issue)


@pytest.fixture
def small_parts(monkeypatch):
    cut_small(monkeypatch.setattr)


@pytest.fixture
def network(issue):
    with Network(issue().endpoint) as network:
        yield network


@pytest.fixture
def watched(network, issue):
    """The bucket behind a network that counts bytes and can fail."""
    return Storage(network.through(issue))


@pytest.fixture
def bucket(issue):
    """The same bucket, as another program has it."""
    given = issue()
    s3 = boto3.resource(
        "s3",
        endpoint_url=given.endpoint,
        aws_access_key_id=given.access_key,
        aws_secret_access_key=given.secret_key,
        aws_session_token=given.session_token,
        region_name=given.region,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    yield s3.Bucket(given.bucket_name)
    s3.meta.client.close()


@pytest.fixture
def uploads(bucket):
    """The keys that have uploads in parts which were not ended."""
    return lambda: [upload.object_key for upload in bucket.multipart_uploads.all()]


@pytest.fixture
def start(cloud, network):
    """Start a transfer in a process of its own; it is killed when so many bytes have passed."""

    def run(way, path, key, kill_after):
        is_still = network.stand_still_after(kill_after)
        env = {**os.environ, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
        process = forked(transfer, env, network.endpoint, way, path, key)
        assert is_still.wait(PATIENCE), process.exitcode
        process.kill()
        process.join()
        network.move_on()
        return process.exitcode

    return run
