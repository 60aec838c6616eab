"""Files by REST, and as a folder in runs: one bucket, whichever way it is used."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from patience import PATIENCE

from lk_jupyter.localcloud.buckets import s3
from lk_jupyter.localcloud.runs import provision

WRITE = "import os, pathlib\n(pathlib.Path(os.environ['LK_STORAGE']) / 'run.txt').write_text('from a run')"
READ = "import os, pathlib\nprint((pathlib.Path(os.environ['LK_STORAGE']) / '{}').read_text())"

AWKWARD = [
    "a b.txt",
    "a+b.txt",
    "ä/日本/😀.txt",
    "50%.txt",
    "a%2Fb",
    "q?x=1&y=2",
    "#hash",
    "[x]{y}|^`",
    '"q"',
    "..hidden",
]
NO_KEYS = ["/lead", "a//b", "dir/", "a/../b", "../../escape", "./x", "..", "a\\b", "x" * 256, "new\nline", "nul\0"]


@pytest.fixture(scope="module")
def http(cloud):
    with httpx.Client(
        base_url=f"{cloud.base_url}/api/v2/external",
        headers={"Authorization": f"Bearer {cloud.api_key}"},
        timeout=60,
    ) as client:
        yield client


def upload(http, key, content):
    return http.post("/storage/upload", params={"key": key}, files={"file": ("local.bin", content)})


def keys(http, prefix=""):
    return [row["key"] for row in http.get("/storage/list-files", params={"prefix": prefix}).json()]


def download(http, key):
    return http.get("/storage/download/" + "/".join(map(quoted, key.split("/"))))


def quoted(part):
    return "".join(f"%{byte:02X}" for byte in part.encode())


def test_a_file_comes_back_as_it_was_sent(http):
    content = bytes(range(256)) * 40_000
    answer = upload(http, "there/and/back.bin", content).json()
    assert (answer["key"], answer["size"]) == ("there/and/back.bin", len(content))
    assert answer["etag"]
    answer = download(http, "there/and/back.bin")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"


def test_the_files_own_name_is_the_key_where_none_is_given(http):
    assert http.post("/storage/upload", files={"file": ("own name.txt", b"x")}).json()["key"] == "own name.txt"


def test_a_listing_takes_a_prefix_in_the_middle_of_a_name_and_a_limit(http):
    for key in ("prefixed/train-1", "prefixed/train-2", "prefixed/trains/3", "prefixed/x"):
        upload(http, key, b"1")
    assert keys(http, "prefixed/tr") == ["prefixed/train-1", "prefixed/train-2", "prefixed/trains/3"]
    [row] = http.get("/storage/list-files", params={"prefix": "prefixed/", "max_files": 1}).json()
    assert row["size"] == 1
    assert row["etag"] == hashlib.md5(b"1").hexdigest()
    assert http.get("/storage/list-files", params={"max_files": -1}).json() == []


@pytest.mark.parametrize("key", AWKWARD)
def test_an_awkward_key_is_kept_as_it_is(http, key):
    key = "awkward/" + key
    assert upload(http, key, key.encode()).status_code == 200
    assert key in keys(http, "awkward/")
    assert download(http, key).content == key.encode()
    assert http.delete("/storage/delete/" + "/".join(map(quoted, key.split("/")))).status_code == 200
    assert key not in keys(http, "awkward/")


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_is_no_key_is_refused_in_words_and_changes_nothing(http, key):
    before = keys(http)
    refused = upload(http, key, b"x")
    assert refused.status_code == 400
    assert "is not a key: give a relative path" in refused.json()["detail"]
    assert download(http, key).status_code == 404
    assert keys(http) == before


def test_an_empty_file_is_a_file(http):
    upload(http, "empty", b"")
    assert download(http, "empty").content == b""


def test_of_several_files_each_succeeds_or_fails_by_itself(http):
    files = [("files", ("good", b"1")), ("files", ("..", b"2")), ("files", ("better", b"3"))]
    answer = http.post("/storage/upload-bulk", files=files, data={"folder_prefix": "several/"}).json()
    assert [answer[f"{kind}_uploads"] for kind in ("successful", "failed")] == [2, 1]
    assert [row["status"] for row in answer["results"]] == ["success", "failed", "success"]
    assert keys(http, "several/") == ["several/better", "several/good"]


def test_a_folder_goes_with_all_that_is_in_it_and_nothing_else(http):
    for key in ("gone/a", "gone/b/c", "gone-not"):
        upload(http, key, b"x")
    assert http.delete("/storage/delete-folder/gone/").json()["message"] == "Deleted 2 files"
    assert keys(http, "gone") == ["gone-not"]
    assert http.delete("/storage/delete-folder/gone/").status_code == 404
    assert http.delete("/storage/delete-folder/").status_code == 422
    assert keys(http, "gone") == ["gone-not"]


def test_what_is_not_there_is_not_found(http):
    assert download(http, "none").status_code == 404
    assert http.delete("/storage/delete/none").status_code == 404


def test_what_a_run_writes_is_seen_by_rest_and_the_other_way_round(api, http):
    upload(http, "for/a run.txt", b"by REST")
    record = api.run(f"{READ.format('for/a run.txt')}\n{WRITE}")
    assert (record["status"], record["stdout"]) == ("completed", "by REST\n"), record["stderr"]
    assert download(http, "run.txt").content == b"from a run"


def test_a_run_finds_the_storage_at_the_path_of_the_cloud_and_keeps_its_exit_code(api, http):
    upload(http, "plain.txt", b"x")
    code = "import os, sys\nprint(open('/mnt/s3/plain.txt').read(), os.environ['LK_STORAGE'])\nsys.exit(7)"
    record = api.run(code)
    assert (record["stdout"], record["return_code"]) == ("x /mnt/s3\n", 7), record["stderr"]
    record = api.run("import os\nopen('/mnt/s3/plain.txt').read()\nos.kill(os.getpid(), 15)")
    assert (record["return_code"], record["status_details"]) == (143, "the code was ended by signal 15 (Terminated)")


def test_a_run_that_ignores_the_storage_starts_no_server(make_api):
    api = make_api()
    assert api.run("import os\nprint(os.environ.get('LK_STORAGE'))".replace("LK_", "L' 'K_"))["stdout"] == "None\n"
    assert not (api.cloud.data / "storage").exists()


@pytest.mark.nightly
def test_a_large_file_does_not_pass_through_memory(make_api):
    api = make_api()
    api.post("/storage/credentials")
    server = psutil.Process(api.cloud.process.pid)
    before, size, piece = server.memory_info().rss, 100, bytes(1024 * 1024)
    body = {"file": ("big", Zeros(size * len(piece)))}
    assert api.http.post("/storage/upload", files=body, timeout=120).json()["size"] == size * len(piece)
    with api.cloud.http.stream("GET", "/storage/download/big") as answer:
        received = sum(map(len, answer.iter_raw()))
    assert received == size * len(piece)
    assert server.memory_info().rss - before < 50e6


class Zeros:
    """A file of zeros that takes no memory."""

    def __init__(self, size):
        self.left = self.size = size

    def read(self, count=-1):
        count = min(self.left, 65536 if count < 0 else count)
        self.left -= count
        return bytes(count)

    def seek(self, offset, whence=0):
        self.left = self.size - (offset if whence == 0 else self.size)
        return self.size - self.left

    def tell(self):
        return self.size - self.left


def test_a_full_disk_refuses_in_words_and_keeps_what_was_there(make_api):
    api = make_api("--storage-bytes", "1000000")
    http = api.http
    assert upload(http, "fits", bytes(900_000)).status_code == 200
    refused = upload(http, "too-much", bytes(200_000))
    assert refused.status_code == 400
    assert "room for 100000 more" in refused.json()["detail"]
    refused = http.post("/storage/upload", params={"key": "huge"}, files={"file": ("huge", Zeros(50_000_000))})
    assert refused.status_code == 400
    assert "room" in refused.json()["detail"]
    assert keys(http) == ["fits"]
    assert upload(http, "small", b"x").status_code == 200


def test_a_kill_during_uploads_loses_nothing_that_was_acknowledged(make_cloud):
    cloud = make_cloud()
    cloud.http.post("/storage/credentials")
    acknowledged, enough = set(), threading.Event()

    def send(worker):
        for number in range(1000):
            key = f"{worker}/{number}"
            try:
                if upload(cloud.http, key, key.encode() * 1000).status_code == 200:
                    acknowledged.add(key)
            except (httpx.HTTPError, RuntimeError):
                return
            if len(acknowledged) > 40:
                enough.set()

    with ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(send, worker) for worker in range(4)]
        assert enough.wait(PATIENCE)
        cloud.process.kill()
        for one in sending:
            one.result()
    cloud.kill()
    cloud.start()
    found = {row["key"] for row in cloud.http.get("/storage/list-files", params={"max_files": 5000}).json()}
    assert acknowledged <= found
    for key in sorted(acknowledged):
        assert download(cloud.http, key).content == key.encode() * 1000


def test_credentials_are_never_shown_in_a_log(make_api):
    api = make_api()
    answer = api.post("/storage/credentials").json()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", answer["endpoint"])
    logs = "".join(path.read_text(errors="replace") for path in api.cloud.data.rglob("*.log"))
    assert answer["secret_key"] not in logs
    assert answer["session_token"] not in logs


def test_a_form_that_cannot_be_read_is_answered_as_one_that_does_not_fit(api):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = api.http.post("/storage/upload-bulk", content=b"--b\r\nno header\r\n\r\n--b--", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]


@pytest.mark.skipif(os.name == "nt", reason="there is no mount")
@pytest.mark.parametrize("place", [provision._AT_MOUNT, provision._AT_ROOT])
def test_a_mount_that_fails_leaves_no_folder_on_the_machine(tmp_path, place):
    (tmp_path / "mount").write_text("#!/bin/sh\nexit 32\n")
    (tmp_path / "mount").chmod(0o755)
    folder = Path(f"/mnt/{tmp_path.name}-{os.getpid()}")
    there = folder if place is provision._AT_MOUNT else Path("/mnt", *folder.parts[1:])
    command = ["/bin/sh", "-c", place, str(tmp_path), str(folder), "true"]
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    try:
        assert subprocess.run(command, env=env, check=False, capture_output=True).returncode
        assert not there.exists()
    finally:
        with suppress(OSError):
            there.rmdir()
            there.parent.rmdir()


def test_runs_that_begin_at_once_make_their_bucket_once(tmp_path, monkeypatch):
    made, make = [], s3.make_bucket
    monkeypatch.setattr(s3, "make_bucket", lambda server, name: (made.append(name), make(server, name)))
    storage = s3.BucketStorage(tmp_path, 3600, None)
    try:
        storage.issue_credentials("somebody")  # the server is up
        together = threading.Barrier(8)
        with ThreadPoolExecutor(8) as threads:
            names = list(
                threads.map(lambda _: (together.wait(), storage.get_or_create_bucket("team"))[1].name, range(8))
            )
    finally:
        storage.close()
    assert set(names) == {"org-team"}
    assert made == ["org-somebody", "org-team"]


@pytest.mark.parametrize(("early", "code"), [(503, "SlowDown"), (404, "NoSuchBucket")])
def test_a_bucket_is_made_when_the_server_that_has_just_started_can(tmp_path, monkeypatch, early, code):
    ask, answers = s3.ask, [(early, f"<Message>{code}</Message>")]
    monkeypatch.setattr(s3, "ask", lambda *asked: answers.pop() if answers else ask(*asked))
    storage = s3.BucketStorage(tmp_path, 3600, None)
    try:
        storage.get_or_create_bucket("team")
        assert storage.exists("team")
    finally:
        storage.close()
