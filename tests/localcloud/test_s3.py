"""S3 as stock clients speak it: what is kept, what is refused, and where this server differs from the original."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import obstore
import pytest
from api.scripted import ScriptedServer, answer
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.store import S3Store
from patience import PATIENCE

from lk_jupyter.localcloud.buckets import seaweedfs
from lk_jupyter.localcloud.buckets.deletions import DeletionListener

PART = 5 * 1024 * 1024


@dataclass
class Bucket:
    """One bucket, with a client that holds credentials for it."""

    s3: Any
    name: str

    def put(self, key, content=b"x", **options):
        return self.s3.put_object(Bucket=self.name, Key=key, Body=content, **options)

    def get(self, key, **options):
        return self.s3.get_object(Bucket=self.name, Key=key, **options)["Body"].read()

    def head(self, key, **options):
        return self.s3.head_object(Bucket=self.name, Key=key, **options)

    def keys(self, prefix="", **options):
        answer = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix, **options)
        return [row["Key"] for row in answer.get("Contents", ())]

    def folders(self, prefix=""):
        answer = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix, Delimiter="/")
        return [row["Prefix"] for row in answer.get("CommonPrefixes", ())]

    def refused(self, operation, **options):
        """Return the status with which an operation is refused."""
        with pytest.raises(ClientError) as error:
            getattr(self.s3, operation)(**{"Bucket": self.name, **options})
        return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def client_of(credentials, service="s3", **changes):
    told = {**credentials, **changes}
    return boto3.client(
        service,
        endpoint_url=told["endpoint"],
        aws_access_key_id=told["access_key"],
        aws_secret_access_key=told["secret_key"],
        aws_session_token=told["session_token"],
        region_name=told["region"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def bucket_of(credentials, **changes):
    return Bucket(client_of(credentials, **changes), credentials["bucket_name"])


@pytest.fixture(scope="module")
def credentials(cloud):
    return cloud.http.post("/storage/credentials").json()


@pytest.fixture(scope="module")
def bucket(credentials):
    return bucket_of(credentials)


def test_an_object_keeps_its_bytes_type_and_metadata(bucket):
    bucket.put("kept.csv", b"a,b\n", ContentType="text/csv", Metadata={"made-by": "test"})
    head = bucket.head("kept.csv")
    assert (head["ContentType"], head["Metadata"], head["ContentLength"]) == ("text/csv", {"made-by": "test"}, 4)
    assert bucket.get("kept.csv") == b"a,b\n"


def test_what_comes_damaged_is_refused(bucket):
    assert bucket.refused("put_object", Key="damaged", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == 400
    assert bucket.keys("damaged") == []


@pytest.mark.parametrize(
    ("asked", "given"),
    [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-3", b"789"), ("bytes=8-100", b"89")],
)
def test_ranges(bucket, asked, given):
    bucket.put("digits", b"0123456789")
    assert bucket.get("digits", Range=asked) == given
    assert bucket.refused("get_object", Key="digits", Range="bytes=100-") == 416


def test_an_object_in_parts_is_there_when_it_is_complete_and_not_before(bucket):
    at = {"Bucket": bucket.name, "Key": "parts"}
    upload = bucket.s3.create_multipart_upload(**at)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": bucket.s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=bytes([number]) * PART)[
                "ETag"
            ],
        }
        for number in (1, 2)
    ]
    assert len(bucket.s3.list_parts(**at, UploadId=upload)["Parts"]) == 2
    assert bucket.keys("parts") == []
    bucket.s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
    assert bucket.get("parts") == b"\1" * PART + b"\2" * PART
    assert bucket.get("parts", Range=f"bytes={PART - 1}-{PART}") == b"\1\2"


def test_an_aborted_upload_leaves_nothing(bucket):
    at = {"Bucket": bucket.name, "Key": "aborted"}
    upload = bucket.s3.create_multipart_upload(**at)["UploadId"]
    bucket.s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"x")
    bucket.s3.abort_multipart_upload(**at, UploadId=upload)
    assert bucket.refused("list_parts", Key="aborted", UploadId=upload) == 404
    assert bucket.keys("aborted") == []


def test_a_listing_goes_on_where_it_was_cut_with_and_without_folders(bucket):
    names = [f"list/{kind}{n}{rest}" for n in range(7) for kind, rest in (("file", ""), ("folder", "/x"))]
    for name in names:
        bucket.put(name)
    assert bucket.keys("list/") == sorted(names)
    pages = bucket.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 3}
    )
    pages = [
        [row["Key"] for row in page.get("Contents", ())] + [row["Prefix"] for row in page.get("CommonPrefixes", ())]
        for page in pages
    ]
    assert [name for page in pages for name in page] == [f"list/file{n}" for n in range(7)] + [
        f"list/folder{n}/" for n in range(7)
    ]
    assert max(map(len, pages)) == 3
    assert bucket.keys("list/", StartAfter="list/folder4/x") == ["list/folder5/x", "list/folder6/x"]


def test_many_are_deleted_at_once_and_what_is_not_there_is_no_error(bucket):
    for n in range(5):
        bucket.put(f"many/{n}")
    objects = [{"Key": f"many/{n}"} for n in range(6)]
    answer = bucket.s3.delete_objects(Bucket=bucket.name, Delete={"Objects": objects})
    assert len(answer["Deleted"]) == 6
    assert bucket.keys("many/") == []
    bucket.s3.delete_object(Bucket=bucket.name, Key="many/none")


def test_copies_whole_and_in_parts_and_onto_itself(bucket):
    bucket.put("copy/a ä+%.txt", b"0123456789")
    source = {"Bucket": bucket.name, "Key": "copy/a ä+%.txt"}
    bucket.s3.copy_object(Bucket=bucket.name, Key="copy/b", CopySource=source)
    assert bucket.get("copy/b") == b"0123456789"
    at = {"Bucket": bucket.name, "Key": "copy/c"}
    upload = bucket.s3.create_multipart_upload(**at)["UploadId"]
    part = bucket.s3.upload_part_copy(
        **at, UploadId=upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=2-4"
    )
    parts = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    bucket.s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
    assert bucket.get("copy/c") == b"234"
    itself = {"Bucket": bucket.name, "Key": "copy/b"}
    bucket.s3.copy_object(**itself, CopySource=itself, MetadataDirective="REPLACE", Metadata={"new": "1"})
    assert (bucket.head("copy/b")["Metadata"], bucket.get("copy/b")) == ({"new": "1"}, b"0123456789")


def test_conditions_of_reads_and_writes(bucket):
    tag = bucket.put("condition", b"1")["ETag"]
    assert bucket.refused("get_object", Key="condition", IfNoneMatch=tag) == 304
    assert bucket.refused("get_object", Key="condition", IfMatch='"0"') == 412
    assert bucket.refused("put_object", Key="condition", IfNoneMatch="*") == 412
    assert bucket.refused("put_object", Key="condition", IfMatch='"0"') == 412
    source = {"Bucket": bucket.name, "Key": "condition"}
    assert bucket.refused("copy_object", Key="copied", CopySource=source, CopySourceIfMatch='"0"') == 412
    assert bucket.get("condition", IfMatch=tag) == b"1"
    bucket.put("condition", b"2", IfMatch=tag)
    bucket.put("condition-new", b"1", IfNoneMatch="*")


def test_of_many_who_write_only_if_nothing_is_there_one_wins(bucket):
    start = threading.Barrier(8)

    def write(n):
        start.wait()
        with suppress(bucket.s3.exceptions.ClientError):
            return bucket.put("race", b"%d" % n, IfNoneMatch="*") and n

    with ThreadPoolExecutor(8) as pool:
        [winner] = [n for n in pool.map(write, range(8)) if n is not None]
    assert bucket.get("race") == b"%d" % winner


def request(method, url, body=None):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request(method, f"{parts.path}?{parts.query}", body)
    answer = connection.getresponse()
    read = answer.status, answer.read()
    connection.close()
    return read


def test_presigned_urls_work_for_what_they_were_made_and_for_nothing_else(bucket):
    bucket.put("pre/a ä+%.txt", b"signed")
    bucket.put("pre/other", b"other")
    at = {"Bucket": bucket.name, "Key": "pre/a ä+%.txt"}
    url = bucket.s3.generate_presigned_url("get_object", at, ExpiresIn=60)
    assert request("GET", url) == (200, b"signed")
    assert request("GET", url.replace("a%20", "b%20"))[0] == 403
    assert request("GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))[0] == 403
    assert request("PUT", url, b"y")[0] == 403
    url = bucket.s3.generate_presigned_url("put_object", {**at, "Key": "pre/put"}, ExpiresIn=60)
    assert request("PUT", url, b"by url")[0] == 200
    assert bucket.get("pre/put") == b"by url"


def test_a_presigned_url_ends(bucket, until):
    bucket.put("pre/short")
    at, methods = (
        {"Bucket": bucket.name, "Key": "pre/short"},
        {"get": "GET", "put": "PUT", "head": "HEAD", "delete": "DELETE"},
    )
    urls = {
        method: bucket.s3.generate_presigned_url(f"{name}_object", at, ExpiresIn=1) for name, method in methods.items()
    }
    assert until(lambda: request("GET", urls["GET"])[0] != 200)
    assert {method: request(method, url)[0] for method, url in urls.items()} == dict.fromkeys(urls, 403)
    assert bucket.get("pre/short") == b"x"


KEYS = [
    "a b", "a+b", "ä/ö/日本", "50%", "a%2Fb", "q?x=1&y", "#h", "tab\tx", "~", "a:b", "[x]{y}|^`", '"q"', "'s'", "<&>",
    "a/" * 300 + "z", ".hidden", "..hidden", "a..b", "a/.../b", "trail ", "dot.", "😀",
    "new\nline", "e\u0301 and \xe9", "b" * 255,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_an_awkward_key_is_a_key_like_any_other(bucket, key):
    key = "keys/" + key
    bucket.put(key, key.encode())
    assert bucket.get(key) == key.encode()
    assert key in bucket.keys(key)
    bucket.s3.delete_object(Bucket=bucket.name, Key=key)
    assert key not in bucket.keys("keys/")


def test_an_object_and_a_folder_may_have_one_name(bucket):
    bucket.put("same", b"object")
    bucket.put("same/name", b"inside")
    assert (bucket.get("same"), bucket.get("same/name")) == (b"object", b"inside")


@pytest.mark.parametrize("key", ["a/../b", "a/./b", "../x", "../../../../etc/passwd", "x/..", "..", ".", "/../x"])
def test_steps_in_a_key_are_refused_so_that_none_leads_out_of_the_bucket(bucket, key):
    """The original keeps some of them as they are."""
    before = bucket.keys()
    assert bucket.refused("put_object", Key=key, Body=b"x") == 400
    assert bucket.refused("get_object", Key=key) == 400
    assert bucket.keys() == before


@pytest.mark.parametrize(
    ("key", "kept"), [("/lead", "lead"), ("//two", "two"), ("mid//dle", "mid/dle"), ("back\\slash", "back/slash")]
)
def test_needless_slashes_are_dropped_and_backslashes_turned(bucket, key, kept):
    """The original keeps them."""
    bucket.put(key, b"x")
    assert bucket.get(key) == bucket.get(kept) == b"x"
    assert bucket.keys(kept) == [kept]
    bucket.s3.delete_object(Bucket=bucket.name, Key=key)


def test_smaller_differences_from_the_original(bucket):
    for key in ("order/a/b", "order/a-b"):
        bucket.put(key)
    assert bucket.keys("order/") == ["order/a/b", "order/a-b"]  # the original sorts by bytes
    assert bucket.refused("put_object", Key="b" * 256) == 400  # the original takes 1,024 bytes
    assert bucket.refused("put_object", Key="nothing there", IfMatch='"0"') == 412  # the original says 404


@pytest.mark.parametrize("name", ["a", "a b+ä%/c"])
def test_a_folder_whose_last_object_was_deleted_is_not_listed(bucket, name, until):
    for key in ("one", "deep/er/two", "deep/er/three"):
        bucket.put(f"emptied/{name}/{key}")
    bucket.put("emptied/marker/")
    bucket.put("emptied/kept/x")
    bucket.s3.delete_object(Bucket=bucket.name, Key=f"emptied/{name}/one")
    assert f"emptied/{name.partition('/')[0]}/" in bucket.folders("emptied/")
    rest = [{"Key": f"emptied/{name}/deep/er/{key}"} for key in ("two", "three")]
    bucket.s3.delete_objects(Bucket=bucket.name, Delete={"Objects": rest})
    assert until(lambda: bucket.folders("emptied/") == ["emptied/kept/", "emptied/marker/"])


def test_no_object_is_lost_to_the_removal_of_the_folder_that_it_is_written_into(bucket, until):
    stop = time.monotonic() + 2

    def write_and_delete(n):
        while time.monotonic() < stop:
            for key in (f"race/f/{n}", f"race/f/g{n}/x"):
                bucket.put(key)
                bucket.s3.delete_object(Bucket=bucket.name, Key=key)
        bucket.put(f"race/f/{n}")
        bucket.put(f"race/f/g{n}/x")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_delete, range(4)))
    written = {key for n in range(4) for key in (f"race/f/{n}", f"race/f/g{n}/x")}
    assert until(lambda: set(bucket.keys("race/")) == written)
    assert bucket.folders("race/") == ["race/f/"]


@pytest.mark.parametrize("is_listed", [True, False])
def test_an_object_that_is_written_while_its_folder_is_removed_gets_its_folder_again(tmp_path, is_listed):
    """A scripted server: on the real one, the moment between the look into a folder and its removal is too short."""
    requests = []

    def answers(sent):
        requests.append((sent.method, sent.path.partition("?")[0]))
        is_removed = ("DELETE", "/b/f%20g/") in requests
        row = "<Contents><Key>f g/x</Key></Contents>" if is_removed else ""
        if is_listed and "delimiter" in sent.path:
            row = "<CommonPrefixes><Prefix>f g/</Prefix></CommonPrefixes>"
        return (answer(200, f"<ListBucketResult>{row}</ListBucketResult>", "application/xml"),)

    with closing(ScriptedServer(handler=answers)) as server:
        weed = seaweedfs.Weed(tmp_path, 3600)
        weed._server = seaweedfs.Server(server.url, "", "AK", "SK")
        weed._remove_if_empty("b", "f g")
    assert [method for method, _ in requests[:4]] == ["GET", "DELETE", "GET", "GET"]
    assert [method for method, _ in requests[4:]] == ([] if is_listed else ["PUT", "DELETE"])
    assert len({path for _, path in requests[4:]}) <= 1
    assert all(path.startswith("/b/f%20g/.") for _, path in requests[4:])


def test_only_the_storage_reports_deletions():
    folders = []
    listener = DeletionListener(lambda *place: folders.append(place))
    settings = listener.environment
    address = urlsplit(settings["WEED_NOTIFICATION_WEBHOOK_ENDPOINT"]).netloc
    report = json.dumps({"key": "/buckets/b/f/x", "message": {"signatures": [1]}})
    right = settings["WEED_NOTIFICATION_WEBHOOK_BEARER_TOKEN"]
    for token, status in (("", 403), ("wrong", 403), ("ä", 403), (right, 204)):
        connection = http.client.HTTPConnection(address)
        connection.request("POST", "/", report, {"Authorization": f"Bearer {token}".encode()})
        assert connection.getresponse().status == status
        assert folders == [] or status == 204
        connection.close()
    listener.close()


@pytest.mark.parametrize(
    "changes", [{"secret_key": "wrong"}, {"session_token": None}, {"session_token": "e30.e30.e30"}, {"access_key": "X"}]
)
def test_without_the_right_credentials_nothing_is_given(credentials, changes):
    stranger = bucket_of(credentials, **changes)
    assert stranger.refused("list_objects_v2") == 403
    assert stranger.refused("put_object", Key="x", Body=b"x") == 403


def test_credentials_expire_and_with_them_what_they_signed(make_api, until):
    api = make_api("--s3-credential-seconds", "3")

    def signed():
        """Use new credentials and sign an address with them; None where they expire before, on a busy machine."""
        bucket = bucket_of(api.post("/storage/credentials").json())
        with suppress(ClientError):
            bucket.put("short")
            url = bucket.s3.generate_presigned_url("get_object", {"Bucket": bucket.name, "Key": "short"}, ExpiresIn=600)
            return (bucket, url) if request("GET", url)[0] == 200 else None

    bucket, url = until(signed)
    assert until(lambda: request("GET", url)[0] == 403)
    assert bucket.refused("list_objects_v2") == 403
    assert until(signed)[0].name == bucket.name


def test_the_credentials_are_good_for_one_bucket_and_cannot_be_widened(bucket, credentials, cloud):
    for operation, options in (
        ("list_objects_v2", {}),
        ("get_object", {"Key": "x"}),
        ("put_object", {"Key": "x", "Body": b"x"}),
        ("delete_object", {"Key": "x"}),
        ("create_bucket", {}),
        ("delete_bucket", {}),
    ):
        assert bucket.refused(operation, **options, Bucket="org-other") == 403
    source = {"Bucket": "org-other", "Key": "x"}
    assert bucket.refused("copy_object", Key="stolen", CopySource=source) == 403
    assert [row["Name"] for row in bucket.s3.list_buckets()["Buckets"]] == [bucket.name]
    assert bucket.refused("delete_bucket") == 403
    assert bucket.refused("put_bucket_policy", Policy="{}") in {400, 403}
    sts = client_of(credentials, "sts")
    with pytest.raises(ClientError, match="not authorized"):
        sts.assume_role(RoleArn="arn:aws:iam::role/Storage", RoleSessionName="wider")


def test_another_client_writes_in_parts_lists_and_reads_a_range(credentials):
    store = S3Store(
        credentials["bucket_name"],
        endpoint=credentials["endpoint"],
        access_key_id=credentials["access_key"],
        secret_access_key=credentials["secret_key"],
        session_token=credentials["session_token"],
        region=credentials["region"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    obstore.put(store, "obstore/big", bytes(PART * 3), chunk_size=PART)
    assert obstore.get_range(store, "obstore/big", start=PART - 2, length=4).to_bytes() == bytes(4)
    assert sum(len(page) for page in obstore.list(store, "obstore")) == 1
    obstore.delete(store, "obstore/big")


@pytest.mark.nightly  # test_storage.py
def test_objects_outlive_a_kill_of_server_and_cloud(make_cloud):
    cloud = make_cloud()
    first = cloud.http.post("/storage/credentials").json()
    bucket_of(first).put("kept", b"kept")
    cloud.kill()
    deadline = time.monotonic() + PATIENCE
    while _is_open(first["endpoint"]):
        assert time.monotonic() < deadline, "the server outlives its cloud"
    cloud.start()
    bucket = bucket_of(cloud.http.post("/storage/credentials").json())
    assert bucket.get("kept") == b"kept"
    bucket.put("more", b"more")
    assert bucket.keys() == ["kept", "more"]


def _is_open(endpoint):
    try:
        request("GET", endpoint + "/?")
    except OSError:
        return False
    return True


@pytest.mark.nightly
def test_a_server_that_took_the_port_meanwhile_is_not_taken_for_ours(tmp_path, monkeypatch):
    free, tried = seaweedfs._find_free_ports, []

    def chosen(count):
        ports = free(count)
        if not tried:
            ports[seaweedfs._PORTS.index("s3.port")] = urlsplit(first.get_or_start_server().endpoint).port
        tried.append(ports)
        return ports

    with (
        closing(seaweedfs.Weed(tmp_path / "first", 3600)) as first,
        closing(seaweedfs.Weed(tmp_path / "second", 3600)) as second,
    ):
        first.get_or_start_server()
        monkeypatch.setattr(seaweedfs, "_find_free_ports", chosen)
        assert seaweedfs.ask(second.get_or_start_server(), "GET", "/")[0] == http.client.OK
    assert len(tried) > 1
