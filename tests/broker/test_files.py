"""Files of child keys are separated: no key lists, reads, overwrites or deletes an object of another key."""

from __future__ import annotations

import os
import secrets
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import httpx
import pytest
from broker.running import API, KeyFiles, find_text, read_state
from conftest import for_each

import lk_jupyter
from lk_jupyter.broker.files import BUCKET, S3_PATH
from lk_jupyter.broker.signature import SignedRequest, sign
from lk_jupyter.storage._sign import presigned_urls

FOLDER = "lk-keys"


@pytest.fixture(scope="module")
def files(broker):
    return KeyFiles(broker.grant(), broker.base_url)


@pytest.fixture(scope="module")
def other(broker):
    return KeyFiles(broker.grant(), broker.base_url)


def test_a_key_stores_lists_copies_reads_and_deletes_its_files(files):
    assert files.send("PUT", "/data/a%20b.txt", content=b"one").status_code == 200
    assert files.send("PUT", "/data/copy", x_amz_copy_source=f"/{BUCKET}/data/a%20b.txt").status_code == 200
    assert (files.send("GET", "/data/copy").content, files.send("HEAD", "/data/copy").headers["content-length"]) == (
        b"one",
        "3",
    )
    assert files.send("GET", "/data/copy", range="bytes=1-1").content == b"n"
    listed = files.send("GET", "", "list-type=2&prefix=data%2F&max-keys=1").text
    assert (find_text(listed, "Key"), find_text(listed, "Name"), FOLDER in listed) == ("data/a b.txt", BUCKET, False)
    token = find_text(listed, "NextContinuationToken")
    rest = files.send("GET", "", f"list-type=2&prefix=data%2F&continuation-token={quote(token)}").text
    assert (find_text(rest, "Key"), "a b" in rest.partition("<Contents>")[2]) == ("data/copy", False)
    folders = files.send("GET", "", "list-type=2&delimiter=%2F").text
    assert find_text(find_text(folders, "CommonPrefixes"), "Prefix") == "data/"
    deletion = b"<Delete><Object><Key>data/copy</Key></Object><Object><Key>data/a b.txt</Key></Object></Delete>"
    assert files.send("POST", "", "delete=", deletion).status_code == 200
    missing = files.send("GET", "/data/copy")
    assert (missing.status_code, find_text(missing.text, "Code"), FOLDER in missing.text) == (404, "NoSuchKey", False)


@for_each(
    ["", "response-content-type=text%2Fhtml", "response-content-disposition=inline%3B%20filename%3D%22attachment%22"],
    name=lambda query: query[:22] or "plain",
)
def test_an_object_is_a_file_and_never_a_page_of_the_broker(query, files):
    page = b"<script>fetch('/broker/spending').then(alert)</script>"
    stored = {"content_type": "text/html", "content_disposition": "inline"}
    assert files.send("PUT", "/page.html", content=page, **stored).status_code == 200
    headers = files.send("GET", "/page.html", query).headers
    assert headers["content-security-policy"].startswith("sandbox;")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment")
    missing = files.send("GET", "/no-such-page.html").headers
    assert missing["content-security-policy"].startswith("sandbox;")


def test_a_key_uploads_in_parts(files):
    parts = [os.urandom(5 << 20), b"end"]
    answer = files.upload_parts("large", *parts)
    assert (answer.status_code, find_text(answer.text, "Key"), FOLDER in answer.text) == (200, "large", False)
    assert files.send("GET", "/large").content == b"".join(parts)


def test_no_key_reaches_the_files_of_another_key(files, other, upstream, broker):
    files.send("PUT", "/secret.txt", content=b"mine")
    path = f"{FOLDER}/{files.key.id}/secret.txt"
    escapes = [
        "/secret.txt", f"/../{files.key.id}/secret.txt", f"/%2e%2e/{files.key.id}/secret.txt", f"/a/..%2f..%2f{path}",
        f"/..%5c{files.key.id}%5csecret.txt", f"/{path}", f"//{path}", f"/./../{files.key.id}/secret.txt",
    ]  # fmt: skip
    for escape in escapes:
        assert other.send("GET", escape).status_code in {400, 404}, escape
        assert other.send("HEAD", escape).status_code in {400, 404}, escape
        copied = other.send("PUT", "/stolen", x_amz_copy_source=f"/{BUCKET}{escape}")
        assert copied.status_code in {400, 403, 404}, escape
        other.send("PUT", escape, content=b"changed")
        other.send("DELETE", escape)
        other.send("POST", "", "delete=", f"<Delete><Object><Key>{escape[1:]}</Key></Object></Delete>".encode())
    for query in (
        "",
        "list-type=2",
        "list-type=2&prefix=..%2F",
        f"list-type=2&prefix=%2E%2E%2F{files.key.id}%2F",
        "uploads=",
    ):
        assert "secret.txt" not in other.send("GET", "", query).text.replace(f"{path}", ""), query
    raw_bucket = upstream.http.post("/storage/credentials").json()["bucket_name"]
    for source in (f"/{raw_bucket}/{path}", f"/{BUCKET}/../{path}"):
        assert other.send("PUT", "/stolen", x_amz_copy_source=source).status_code in {400, 403}
    assert files.send("GET", "/secret.txt").content == b"mine"


def test_a_large_output_that_a_run_stored_in_the_bucket_is_read_by_its_name_only(files, broker, home):
    with lk_jupyter.connect(broker.base_url, broker.grant(scopes=["bucket"]).key) as owner:
        owner.storage.put(b"large", f".lk_jupyter/outputs/{'a' * 32}/7")
    assert files.send("GET", f"/.lk_jupyter/outputs/{'a' * 32}/7").content == b"large"
    for name in (f"{'a' * 32}/../7", f"{'a' * 31}/7", "a" * 32 + "/x/7"):
        assert files.send("GET", f"/.lk_jupyter/outputs/{name}").status_code in {400, 404}, name
    assert "a" * 32 not in files.send("GET", "", "list-type=2").text
    files.send("DELETE", f"/.lk_jupyter/outputs/{'a' * 32}/7")
    assert files.send("GET", f"/.lk_jupyter/outputs/{'a' * 32}/7").content == b"large"


def test_a_multipart_upload_belongs_to_its_key(files, other):
    upload_id = find_text(files.send("POST", "/parts", "uploads=").text, "UploadId")
    files.send("PUT", "/parts", f"partNumber=1&uploadId={upload_id}", b"mine")
    assert upload_id not in other.send("GET", "", "uploads=").text
    assert upload_id in files.send("GET", "", "uploads=").text
    assert other.send("GET", "/parts", f"uploadId={upload_id}").status_code >= 400


def test_raw_credentials_and_the_other_doors_of_the_bucket_need_a_grant(broker, upstream):
    raw = upstream.http.post("/storage/credentials").json()
    issued = broker.grant().post(f"{API}/storage/credentials").json()
    assert not {raw["bucket_name"], raw["endpoint"]} & set(map(str, issued.values()))
    assert broker.grant(scopes=["runs"]).post(f"{API}/storage/credentials").status_code == 403
    granted = broker.grant(scopes=["runs", "bucket"]).post(f"{API}/storage/credentials").json()
    assert granted["bucket_name"] == raw["bucket_name"]
    for method, path in (
        ("GET", "/storage/list-files"),
        ("GET", "/storage/download/x"),
        ("DELETE", "/storage/delete/x"),
    ):
        assert broker.grant().request(method, API + path).status_code == 403


@for_each(["secret", "path", "query", "header", "other", "unsigned", "late"], name=str)
def test_a_request_whose_signature_does_not_match_is_refused(change, files, other):
    access_key, secret, now = files.credentials.access_key, files.credentials.secret_key, datetime.now(timezone.utc)
    path, headers = f"{S3_PATH}/{BUCKET}/secret.txt", {"host": files.host}
    if change == "secret":
        secret = secrets.token_hex(32)
    if change == "other":
        access_key = other.credentials.access_key
    if change == "late":
        now -= timedelta(hours=1)
    signed = sign(SignedRequest("GET", path, "", headers), access_key, secret, digest="UNSIGNED-PAYLOAD", now=now)
    if change == "unsigned":
        del signed["authorization"]
    if change == "header":
        signed["x-amz-copy-source"] = "/files/other"
    sent_path = path + {"path": "2", "query": "?uploadId=1"}.get(change, "")
    answer = httpx.get(files.base_url + sent_path, headers=signed)
    assert (answer.status_code, find_text(answer.text, "Code")) == (403, "SignatureDoesNotMatch")


def test_a_signed_address_works_without_a_key_until_the_key_is_revoked(broker):
    files = KeyFiles(broker.grant(), broker.base_url)
    now = datetime.now(timezone.utc)
    (target,) = presigned_urls(files.credentials, "PUT", ["from run"], now, timedelta(minutes=5))
    (source,) = presigned_urls(files.credentials, "GET", ["from run"], now, timedelta(minutes=5))
    (expired,) = presigned_urls(files.credentials, "GET", ["from run"], now - timedelta(hours=1), timedelta(minutes=5))
    assert httpx.put(target, content=b"result").status_code == 200
    assert httpx.get(source).content == b"result"
    assert httpx.get(expired).status_code == 403
    assert httpx.get(source.replace("from%20run", "other")).status_code == 403
    broker.operator.delete(f"/broker/keys/{files.key.id}")
    assert httpx.get(source).status_code == 403


def test_an_upload_beyond_the_grant_is_refused_before_it_is_sent(broker):
    files = KeyFiles(broker.grant(upload_gib=0.00001), broker.base_url)
    assert files.send("PUT", "/small", content=b"x" * 10_000).status_code == 200
    refused = files.send("PUT", "/more", content=b"x" * 1000)
    assert (refused.status_code, "this key may upload only" in refused.text) == (403, True)
    assert files.send("PUT", "/copy", x_amz_copy_source=f"/{BUCKET}/small").status_code == 403
    assert read_state(files.key)["uploaded_gib"] == pytest.approx(10_000 / (1 << 30))


def test_operations_on_the_bucket_itself_are_refused(files):
    for method, path, query in (
        ("PUT", "", "policy="), ("GET", "", "policy="), ("GET", "", "versions="), ("PUT", "/x", "acl="),
        ("DELETE", "", ""), ("PUT", "", "cors="), ("GET", "/x", "versionId=1"), ("POST", "/x", "select=&select-type=2"),
    ):  # fmt: skip
        assert files.send(method, path, query).status_code == 501, (method, path, query)


def test_the_package_stores_and_reads_files_with_a_child_key(broker, home):
    child = broker.grant()
    with lk_jupyter.connect(broker.base_url, child.key) as session:
        content = os.urandom(20 << 20)
        (home / "one.bin").write_bytes(content)
        session.storage.put(home / "one.bin", "data/one.bin")
        session.storage.copy("data/one.bin", "data/two.bin")
        assert [row.key for row in session.storage.ls("data")] == ["data/one.bin", "data/two.bin"]
        assert bytes(session.storage.get_bytes("data/two.bin")) == content
        session.storage.remove_all(["data/one.bin", "data/two.bin"])
        assert not list(session.storage.ls())


@pytest.mark.nightly
def test_a_stock_s3_client_works_with_the_credentials_of_a_key(broker, home):
    boto3 = pytest.importorskip("boto3")
    issued = broker.grant().post(f"{API}/storage/credentials").json()
    bucket = boto3.resource(
        "s3",
        endpoint_url=issued["endpoint"],
        aws_access_key_id=issued["access_key"],
        aws_secret_access_key=issued["secret_key"],
        region_name=issued["region"],
    ).Bucket(issued["bucket_name"])
    (home / "large.bin").write_bytes(content := os.urandom(20 << 20))
    bucket.upload_file(str(home / "large.bin"), "folder/large.bin")
    bucket.put_object(Key="small", Body=b"small")
    assert [row.key for row in bucket.objects.all()] == ["folder/large.bin", "small"]
    assert bucket.Object("folder/large.bin").get()["Body"].read() == content
    bucket.objects.all().delete()
    assert not list(bucket.objects.all())
