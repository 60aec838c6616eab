"""The bucket as an object, on the local cloud's S3."""

import _thread
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import closing, nullcontext
from datetime import datetime, timedelta, timezone
from hashlib import md5
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import pytest
from api.scripted import ScriptedServer, answer
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from patience import PATIENCE
from storage.between import SMALL_PART

import lk_jupyter
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.errors import NoSuchObject, ObjectExists, StorageError
from lk_jupyter.localcloud.buckets.seaweedfs import Weed
from lk_jupyter.storage import _download, _files, _parts
from lk_jupyter.storage._checksum import hash_content
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.storage import Storage

pytestmark = pytest.mark.usefixtures("small_parts")

LARGE = os.urandom(SMALL_PART // 2) * 5  # three parts


@pytest.fixture(scope="module")
def session(cloud):
    with closing(lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key)) as connected:
        yield connected


@pytest.fixture(scope="module")
def storage(session):
    return session.storage


@pytest.fixture
def interruptible():
    """Interrupts as a terminal has them, also where the tests run in the background without."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, found)


@pytest.mark.parametrize(
    "content",
    [b"", b"small", LARGE, bytearray(b"changeable"), memoryview(LARGE)[7:]],
    ids=["nothing", "little", "three parts", "changeable", "a view"],  # names that are the same in each process
)
def test_bytes_come_back_as_they_went(storage, content):
    storage.put(content, "st/bytes")
    assert storage.get_bytes("st/bytes") == content
    assert storage.info("st/bytes").size == len(content)


def test_a_part_of_an_object_is_read_into_place(storage):
    storage.put(LARGE, "st/part")
    room = bytearray(2 * SMALL_PART)
    storage.get_into("st/part", memoryview(room), start=123)
    assert room == LARGE[123 : 123 + len(room)]


def test_files_travel_both_ways(storage, tmp_path):
    (tmp_path / "here").write_bytes(LARGE)
    storage.put(tmp_path / "here", "st/file")
    assert storage.get("st/file", tmp_path / "back").read_bytes() == LARGE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "here"]


def test_pieces_that_are_made_meanwhile_become_one_object(storage):
    storage.put((bytes([n]) * 1000 for n in range(50)), "st/pieces")
    assert storage.get_bytes("st/pieces") == b"".join(bytes([n]) * 1000 for n in range(50))


@pytest.mark.parametrize("key", ["st/ü x+%.bin", "st/日本/語 'quoted' \"too\".csv", "st/a=b&c?d#e"])
def test_a_key_may_hold_any_letter(storage, key):
    storage.put(b"x", key)
    assert storage.exists(key)
    assert key in [found.key for found in storage.ls("st")]
    assert urllib.request.urlopen(storage.presign(key).url).read() == b"x"


def test_a_folder_is_listed_with_sizes_and_nothing_beside_it(storage):
    for key in ("st-list/a", "st-list/b/c", "st-listed"):
        storage.put(key.encode(), key)
    assert {found.key: found.size for found in storage.ls("st-list/")} == {"st-list/a": 9, "st-list/b/c": 11}


def test_a_folder_is_opened_page_by_page_and_by_the_begin_of_a_name(storage):
    for name in ("a", "b/1", "b/2", "c", "c.csv"):
        storage.put(b"x", f"st-paged/{name}")
    first = storage.ls_page("st-paged", size=2)
    assert [found.name for found in first.items] == ["a", "b/"]
    rest = storage.ls_page("lk://st-paged/", size=2, token=first.token)
    assert [found.name for found in rest.items] == ["c", "c.csv"]
    assert rest.token is None
    assert [found.name for found in storage.ls_page("st-paged", begins="c").items] == ["c", "c.csv"]
    assert storage.ls_page("st-paged/none").items == []


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_upload_that_ends_before_its_content_changes_nothing(storage, monkeypatch, overwrite):
    def ends(connection, content):
        if content != b"new":
            return send(connection, content)
        connection.sock.close()
        raise KeyboardInterrupt

    send = http.client.HTTPConnection.send
    storage.put(b"old", "st/cut/there.txt")
    key = f"st/cut/{'there' if overwrite else 'not there'}.txt"
    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "send", ends)
        with pytest.raises(KeyboardInterrupt):
            storage.put(b"new", key, overwrite=overwrite)
    storage.put(b"last", "st/cut/last.txt")
    assert [(info.key, info.size) for info in storage.ls("st/cut")] == [("st/cut/last.txt", 4), ("st/cut/there.txt", 3)]


def test_what_is_not_there_is_said_by_name(storage, tmp_path):
    assert not storage.exists("st/nothing")
    for act in (storage.info, storage.get_bytes, lambda key: storage.get(key, tmp_path / "x")):
        with pytest.raises(NoSuchObject, match="st/nothing"):
            act("st/nothing")
    assert list(tmp_path.iterdir()) == []


def test_removing_twice_is_no_error(storage):
    storage.put(b"x", "st/removed")
    storage.remove("st/removed")
    storage.remove("st/removed")
    assert not storage.exists("st/removed")


def test_a_local_file_that_is_not_there_is_said_before_anything_is_sent(storage, tmp_path):
    with pytest.raises(StorageError, match="Can't read"):
        storage.put(tmp_path / "missing", "st/missing")


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(storage, tmp_path, monkeypatch):
    storage.put(b"12345678", "st/eight")
    usage = _download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(_download.shutil, "disk_usage", lambda _: usage._replace(free=7))
    with pytest.raises(StorageError, match=r"8 bytes.*has only 7 bytes free"):
        storage.get("st/eight", tmp_path / "eight")


def test_a_link_writes_and_reads_without_credentials_and_its_repr_hides_it(storage):
    link = storage.presign("st/linked", "PUT")
    urllib.request.urlopen(urllib.request.Request(link.url, data=b"by link", method="PUT"))
    assert storage.get_bytes("st/linked") == b"by link"
    assert "http" not in repr(link) + str(link)


def test_a_link_is_for_its_object_and_its_way_only(storage):
    storage.put(b"x", "st/readable")
    link = storage.presign("st/readable").url
    for url, method in ((link, "PUT"), (link.replace("readable", "file"), "GET")):
        with pytest.raises(HTTPError, match="403") as refused:
            urllib.request.urlopen(urllib.request.Request(url, data=b"y" if method == "PUT" else None, method=method))
        refused.value.close()


def test_credentials_are_asked_for_when_the_last_ones_end_soon_and_not_before(session):
    given = []

    def issue():
        given.append(session.client.storage.credentials())
        return given[-1]

    storage = Storage(issue)
    for key in ("st/one", "st/two"):
        storage.put(b"x", key)
        storage.presign(key, life=timedelta(minutes=10))
    assert len(given) == 1
    link = storage.presign("st/one", life=timedelta(days=30))
    assert link.expires_at <= given[-1].expires_at


def test_credentials_that_end_in_mid_transfer_are_renewed(make_cloud):
    cloud = make_cloud("--s3-credential-seconds", "2")
    storage = Storage(cloud.client.storage.credentials)
    first = storage._credentials.current_credentials()

    def pieces():
        yield LARGE
        threading.Event().wait((first.expires_at - datetime.now(timezone.utc)).total_seconds() + 1.1)
        yield LARGE

    storage.put(pieces(), "long")
    assert storage._credentials.current_credentials() != first
    assert storage.get_bytes("long") == LARGE * 2


@pytest.mark.nightly
def test_a_storage_that_moves_to_another_address_is_found_by_new_credentials(session):
    current = session.client.storage.credentials()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        abandoned_port = server.getsockname()[1]
    answers = [current.model_copy(update={"endpoint": f"http://127.0.0.1:{abandoned_port}"})]
    storage = Storage(lambda: answers.pop() if answers else current)
    storage.put(b"moved", "st/moved")
    assert storage.get_bytes("st/moved") == b"moved"


ENDING = """
import sys, threading, time
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.storage import _s3

begun, ends = threading.Event(), threading.Event()

class Given:
    calls = 0
    def current_credentials(self):
        self.calls += 1
        if self.calls > 1:
            begun.set()
            ends.wait()
        mine = dict(access_key="a", secret_key="s", session_token="t", bucket_name="b")
        return StorageCredentials(endpoint=sys.argv[1], **mine)

class Output:
    closed = False
    def flush(self):  # is called when Python is ending
        ends.set()
        time.sleep(0.1)

store = _s3.open_store(Given())

def read():
    while True:
        _s3.read_range(store, "key", "", 0, 10)
        begun.set()

for _ in range(4):
    threading.Thread(target=read, daemon=True).start()
begun.wait()
sys.stdout = Output()
"""


def test_a_process_that_ends_while_it_reads_does_not_abort():
    part = {"Content_Range": "bytes 0-9/10", "ETag": '"e"', "Last_Modified": "Sun, 29 Nov 2026 10:00:00 GMT"}
    with closing(ScriptedServer(handler=lambda _: (answer(206, "0123456789", "text/plain", **part),))) as server:
        command = [sys.executable, "-c", ENDING, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_pieces_that_fail_leave_nothing_behind(storage):
    def pieces():
        yield LARGE
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.put(pieces(), "st/half")
    assert not storage.exists("st/half")


def test_an_interrupted_upload_leaves_nothing_behind(storage, interruptible):
    sending = threading.Event()

    def pieces():
        yield LARGE
        sending.set()
        while True:
            yield LARGE[: _parts.PART]

    threading.Thread(target=lambda: sending.wait(PATIENCE) and _thread.interrupt_main(), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        storage.put(pieces(), "st/interrupted")
    assert not storage.exists("st/interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_where_a_download_begins_leads_nowhere(tmp_path):
    info, target, other = ObjectInfo("big", 2 * _parts.PART, None, "e"), tmp_path / "big", tmp_path / "other"
    place = _download.Unfinished(target, info)
    place.drop()
    other.write_text("mine")
    for path in (place.path, place.marks):
        path.symlink_to(other)
    download = _download.Unfinished(target, info)
    download.read_marks()
    download.record_part(0)
    download.move_to_target(target, info)
    assert (other.read_text(), target.is_symlink()) == ("mine", False)


def test_of_two_that_download_the_same_object_to_one_place_each_has_a_file(tmp_path):
    info, target = ObjectInfo("k", 3, None, "e"), tmp_path / "k"
    places = [_download.Unfinished(target, info) for _ in range(3)]
    assert len({place.path for place in places} | {place.marks for place in places}) == 6
    for place, content in zip(places, (b"abc", b"def", b"ghi"), strict=True):
        assert place.read_marks() == {}
        place.path.write_bytes(content)
    for place in places[:2]:
        place.move_to_target(target, info)
    places[2].drop()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"def"]


def test_a_long_file_is_sent_while_it_is_written(monkeypatch):
    monkeypatch.setattr(_files, "_PIECE", 1)
    taken, content = [], bytes(range(3 * _parts.AT_ONCE))
    sending = _files._Sending("k", lambda pieces, _: taken.extend(pieces))
    sending.add(memoryview(content))
    sending.finish()
    assert b"".join(taken) == content


def test_an_interrupted_download_leaves_no_half_file(storage, tmp_path, monkeypatch, interruptible):
    storage.put(LARGE, "st/long")
    slowly = threading.Event()  # the disk takes longer than the interrupt
    monkeypatch.setattr(_download, "write_at", lambda *_: (_thread.interrupt_main(), slowly.wait(0.2)))
    with pytest.raises(KeyboardInterrupt):
        storage.get("st/long", tmp_path / "long")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["at once", "in parts"])
def test_of_two_that_create_the_same_object_one_is_refused_and_the_other_is_whole(storage, content):
    key, refused = f"once/{len(content)}.bin", []

    def create(sign):
        try:
            storage.put(sign + content, key, overwrite=False)
        except ObjectExists as error:
            refused.append(str(error))

    threads = [threading.Thread(target=create, args=(sign,)) for sign in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [f"{key!r} already exists in the bucket. It was not overwritten."] * 2
    assert storage.get_bytes(key)[1:] == content
    storage.put(b"other", key)
    assert storage.get_bytes(key) == b"other"


@pytest.mark.parametrize(("is_lost", "found"), [(False, b"mine"), (True, b"mine"), (True, b"another's")])
def test_an_object_that_was_taken_meanwhile_is_ours_only_if_the_answer_of_an_earlier_try_was_lost(
    scripted, home, is_lost, found
):
    asked = []

    def answers(request):
        asked.append(request.method)
        if request.method == "HEAD":
            taken = asked.count("HEAD") > 1
            return answer(200 if taken else 404, "", "text/plain", ETag=f'"{hash_content(found)}"')
        return b"" if is_lost and asked.count("PUT") == 1 else answer(412, "", "text/plain")

    storage, _ = scripted(answers)
    storage._wire._pauses = (0.0,)
    expected = nullcontext() if is_lost and found == b"mine" else pytest.raises(ObjectExists)
    with expected:
        storage.put(b"mine", "k", overwrite=False)
    assert asked == ["HEAD", *["PUT"] * (1 + is_lost), "HEAD"]


def test_a_key_that_is_taken_gets_a_number_before_its_ending(storage):
    assert storage.free_key("free/x.csv") == "free/x.csv"
    storage.put(b"", "free/x.csv")
    assert storage.free_key("free/x.csv") == "free/x (1).csv"
    storage.put(b"", "free/x (1).csv")
    assert storage.free_key("lk://free/x.csv") == "free/x (2).csv"
    storage.put(b"", "free/.env")
    assert storage.free_key("free/.env") == "free/.env (1)"


# A bucket that is missing


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A storage server, and the key that may make buckets there."""
    with closing(Weed(tmp_path_factory.mktemp("storage"), 3600)) as weed:
        yield weed.get_or_start_server()


@pytest.fixture
def unmade(server, home):
    """A bucket that nobody has made yet."""
    given = StorageCredentials(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint=server.endpoint,
        bucket_name=f"unmade-{uuid4().hex[:8]}",
    )
    return Storage(lambda: given)


def test_a_bucket_that_is_missing_is_made_when_something_is_stored(unmade):
    unmade.put(b"first", "a.txt")
    assert unmade.get_bytes("a.txt") == b"first"


def test_a_bucket_that_is_missing_is_empty(unmade):
    assert list(unmade.ls()) == []
    assert not unmade.exists("a.txt")


def test_a_link_to_write_leads_into_a_bucket_that_is_there(unmade):
    link = unmade.presign("a.txt", "PUT", life=timedelta(minutes=1))
    httpx.put(link.url, content=b"by link").raise_for_status()
    assert unmade.get_bytes("a.txt") == b"by link"


def test_a_bucket_that_is_missing_is_made_for_an_upload_in_parts(unmade):
    unmade.put(LARGE, "large.bin")
    assert unmade.info("large.bin").size == len(LARGE)


# A storage that is elsewhere, or whose clock is


@pytest.fixture
def scripted():
    """Return the bucket of a storage that answers with a function of the request, whose clock is so far ahead."""
    servers = []

    def bucket(reply, ahead=timedelta(0), path=""):
        servers.append(ScriptedServer(handler=lambda request: (reply(request),)))
        endpoint = servers[-1].url + path
        kind = StorageCredentials(
            access_key="AK", secret_key="SK", session_token="TK", endpoint=endpoint, bucket_name="b"
        )
        given = []

        def issue():
            given.append(kind.model_copy(update={"expires_at": now(ahead) + timedelta(hours=1), "region": "eu-1"}))
            return given[-1]

        return Storage(issue, lambda: now(ahead).timestamp()), given

    yield bucket
    for server in servers:
        server.close()


def now(ahead):
    return datetime.now(timezone.utc) + ahead


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "use",
    [
        lambda storage: storage.put(b"hello", "k"),
        lambda storage: storage.put(b"hello", "k", overwrite=False),
        lambda storage: storage.put(LARGE, "k"),
        lambda storage: storage.get_bytes("k"),
        lambda storage: storage.copy("k", "other"),
        lambda storage: storage.remove("k"),
        lambda storage: storage.remove_all(["k", "l"]),
        lambda storage: list(storage.ls()),
    ],
    ids=["put", "create", "put in parts", "get", "copy", "remove", "remove several", "list"],
)
def test_a_storage_that_redirects_is_refused_and_sent_nothing_elsewhere(scripted, home, status, use):
    asked = []

    def answers(request):
        asked.append(request.path)
        elsewhere = request.path.startswith("/else")
        return answer(200 if elsewhere else status, "", "text/plain", Location="/else/b/k", ETag='"x"')

    storage, _ = scripted(answers)
    with pytest.raises(StorageError, match=rf"redirects .*HTTP {status}.*Nothing was changed.*credentials\(\)"):
        use(storage)
    assert not [path for path in asked if path.startswith("/else")]


@pytest.mark.parametrize("path", ["/storage/v1/s3", "/storage/v1/s3/", "/a%20b", "/"])
def test_an_address_with_a_path_keeps_it_in_requests_signatures_and_links(scripted, home, path):
    requests = []

    def answers(request):
        requests.append(request)
        part = {"Content-Range": "bytes 0-4/5"} if "range" in request.headers else {}
        text = "hello" if request.method in {"GET", "HEAD"} else ""
        return answer(206 if part else 200, text, "text/plain", ETag='"x"', **part)

    storage, given = scripted(answers, path=path)
    storage.put(b"hello", "a b/k")
    storage.copy("a b/k", "other")
    assert storage.get_bytes("a b/k") == b"hello"
    link = storage.presign("a b/k", life=timedelta(minutes=1)).url
    httpx.get(link).raise_for_status()
    below = path.rstrip("/")
    assert {request.path.partition("?")[0] for request in requests} == {f"{below}/b/a%20b/k", f"{below}/b/other"}
    assert [request for request in requests if not is_signed(request, given[-1])] == []


def is_signed(request, given):
    """Whether another library computes the same signature of a request or of the link that led to it."""
    address = f"{given.endpoint.partition('/')[0]}//{request.headers['host']}{request.path}"
    credentials = Credentials(given.access_key, given.secret_key, given.session_token)
    query = dict(parse_qsl(urlsplit(request.path).query))
    if signature := query.get("X-Amz-Signature"):
        auth, names = S3SigV4QueryAuth(credentials, "s3", given.region), ["host"]
        address = address.partition("&X-Amz-Signature")[0]
    else:
        auth = S3SigV4Auth(credentials, "s3", given.region)
        _, names, signature = (row.partition("=")[2] for row in request.headers["authorization"].split(", "))
        names = names.split(";")
    signed = AWSRequest(request.method, address, {name: request.headers[name] for name in names}, request.body)
    signed.context["timestamp"] = query.get("X-Amz-Date") or request.headers["x-amz-date"]
    return auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed) == signature


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("is_named", [True, False], ids=["in the answer", "in the record"])
def test_an_upload_in_parts_that_the_bucket_stored_with_other_content_is_an_error(scripted, home, overwrite, is_named):
    """Its size is right, as where parts were put together in another order."""
    etag = '"0123456789abcdef0123456789abcdef-3"'

    def answers(request):
        if request.method == "PUT":
            return answer(200, "", "text/plain", ETag=f'"{md5(request.body).hexdigest()}"')
        if request.method == "HEAD":
            return answer(200 if completed else 404, "x" * len(LARGE), "text/plain", ETag=etag)
        if "uploads=" in request.path:
            return answer(200, "<R><UploadId>u</UploadId></R>", "application/xml")
        if request.method == "POST":
            completed.append(request.path)
        kind = "CompleteMultipartUploadResult" if is_named else "R"
        return answer(200, f"<{kind}><ETag>{etag}</ETag></{kind}>", "application/xml")

    completed = []
    with pytest.raises(StorageError, match=r"stored 'k' with other content than was sent.*Upload it again"):
        scripted(answers)[0].put(LARGE, "k", overwrite=overwrite)
    assert len(completed) == 1


def test_an_upload_in_parts_to_a_storage_that_names_content_otherwise_is_stored(scripted, home):
    """An encrypted bucket gives ETags that are no hash of the content."""

    def answers(request):
        if "uploads=" in request.path:
            return answer(200, "<R><UploadId>u</UploadId></R>", "application/xml")
        done = "<CompleteMultipartUploadResult><ETag>&quot;b-3&quot;</ETag></CompleteMultipartUploadResult>"
        return answer(200, done if request.method == "POST" else "", "application/xml", ETag=f'"{"a" * 32}"')

    scripted(answers)[0].put(LARGE, "k")


ERROR = "<Error><Code>InternalError</Code><Message>No disk.</Message></Error>"
MORE = "<ListBucketResult><IsTruncated>True</IsTruncated></ListBucketResult>"
LATE = '<?xml version="1.0"?>' + "\n " * 500 + ERROR


@pytest.mark.parametrize(
    ("use", "text", "said"),
    [
        (lambda storage: storage.copy("k", "other"), LATE, "No disk"),
        (lambda storage: storage.put(LARGE, "k"), LATE, "No disk"),
        (lambda storage: storage.put(LARGE, "k"), "<html/>", "didn't store"),
        (lambda storage: storage.put(LARGE, "k"), "", "didn't store"),
        (lambda storage: storage.remove_all(["k"]), LATE, "No disk"),
        (lambda storage: storage.remove_all(["k"]), f"<DeleteResult>{ERROR}</DeleteResult>", "didn't delete.*No disk"),
        (lambda storage: storage.remove_all(["k"]), "<html>", "can't be read"),
        (lambda storage: list(storage.ls()), LATE, "No disk"),
        (lambda storage: list(storage.ls()), "<html/>", "the answer isn't a list"),
        (lambda storage: list(storage.ls()), MORE, "the next page is missing"),
    ],
)
def test_an_error_that_comes_with_success_is_an_error(scripted, home, use, text, said):
    def answers(request):
        begins = request.method == "POST" and request.path.endswith("uploads=")
        if begins:
            return answer(200, "<R><UploadId>u</UploadId></R>", "application/xml")
        if request.method == "HEAD":
            return answer(200, "", "text/plain", ETag='"x"')
        is_listed = "uploads=" in request.path
        return answer(200, "<R/>" if is_listed else text, "application/xml", ETag='"x"')

    with pytest.raises(StorageError, match=said):
        use(scripted(answers)[0])


def test_keys_that_a_list_gives_as_in_an_address_are_read(scripted):
    row = "<Contents><Key>a%2Fb+c%C3%A9.csv</Key><Size>3</Size></Contents>"
    text = f"<ListBucketResult><EncodingType>url</EncodingType>{row}</ListBucketResult>"
    storage, _ = scripted(lambda _: answer(200, text, "application/xml"))
    assert list(storage.ls("a/", recursive=True)) == [ObjectInfo("a/b cé.csv", 3, None)]


def test_a_key_with_odd_blanks_and_no_other_is_removed(scripted):
    bodies = []
    storage, _ = scripted(lambda request: [bodies.append(request.body), answer(200, "", "application/xml")][1])
    storage.remove_all(["a\r\n\t <b>"])
    assert [key.text for key in ET.fromstring(bodies[0]).iter("Key")] == ["a\r\n\t <b>"]


@pytest.mark.parametrize("status", [400, 405, 501])
def test_keys_are_removed_one_by_one_where_a_server_takes_one_at_a_time(scripted, status):
    seen = []

    def answers(request):
        seen.append((request.method, request.path))
        return answer(status if request.method == "POST" else 204, "", "text/plain")

    assert scripted(answers)[0].remove_all(["k", "l"]) == 2
    assert sorted(seen) == [("DELETE", "/b/k"), ("DELETE", "/b/l"), ("POST", "/b?delete=")]


@pytest.mark.parametrize("hours", [-5, 5])
def test_requests_are_signed_and_credentials_kept_by_the_clock_of_the_server(scripted, home, hours):
    ahead, seen = timedelta(hours=hours), []

    def answers(request):
        signed = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        seen.append(abs(signed - now(ahead)) < timedelta(minutes=15))
        if request.method == "GET":
            return answer(200, "hello", "text/plain", ETag='"x"')
        return answer(200, "", "text/plain", ETag='"x"', **{"Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"})

    storage, given = scripted(answers, ahead)
    for _ in range(3):
        storage.put(b"hello", "k")
    storage._read(ObjectInfo("k", 5, None, "x"), 0, 5)
    storage.remove_all(["k"])
    link = storage.presign("k", life=timedelta(minutes=30))
    assert seen == [True] * len(seen)
    assert abs(link.expires_at - now(ahead) - timedelta(minutes=30)) < timedelta(minutes=5)
    assert len(given) == 1


def test_no_request_removes_more_keys_than_s3_takes(storage, monkeypatch):
    sent = []
    monkeypatch.setattr(Wire, "delete", lambda _, keys: sent.append(len(keys)))
    assert storage.remove_all(f"st/{number}" for number in range(2001)) == 2001
    assert sent == [1000, 1000, 1]
