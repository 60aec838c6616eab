"""The bucket as a page sees it, and that no answer of any route holds a secret."""

from __future__ import annotations

import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pandas as pd
import pytest

from lk_jupyter._extras import build_extra_command
from lk_jupyter.serverext import storage

HOSTILE = 'h/<img src=x onerror=alert(1)> "a" ü %2e&?#.txt'


@pytest.fixture
def put(cloud):
    """A function that stores text; all is deleted at the end."""

    def put(key, text="x"):
        content = text if isinstance(text, bytes) else text.encode()
        cloud.http.post("storage/upload", params={"key": key}, files={"file": content}).raise_for_status()

    yield put
    for row in cloud.http.get("storage/list-files").json():
        cloud.http.delete(f"storage/delete/{quote(row['key'])}")


def names(jupyter, folder="", **query):
    return [item["key"] for item in jupyter.get("storage/list", params={"folder": folder, **query}).json()["items"]]


def keys(cloud):
    return [row["key"] for row in cloud.http.get("storage/list-files").json()]


def test_a_folder_lists_its_folders_then_its_files(jupyter, put):
    for key in ("b.txt", "A.txt", "data/1.txt", "data/deep/2.txt", "zoo/3.txt"):
        put(key)
    assert names(jupyter) == ["data/", "zoo/", "A.txt", "b.txt"]
    assert names(jupyter, "data/") == ["data/deep/", "data/1.txt"]
    assert names(jupyter, "data") == ["data/deep/", "data/1.txt"]
    page = jupyter.get("storage/list", params={"limit": 2, "offset": 1}).json()
    assert ([item["key"] for item in page["items"]], page["total"]) == (["zoo/", "A.txt"], 4)


def test_a_file_is_previewed_as_in_a_notebook_and_what_cannot_be_says_so(jupyter, put, cloud):
    table = io.BytesIO()
    pd.DataFrame({"price": [1.5, None], "city": ["Ulm", "Köln"]}).to_parquet(table)
    put("data/train.parquet", table.getvalue())
    put("data/notes.txt", b"key lk_" + b"a1B2" * 10)
    put("data/broken.parquet", b"PAR1 not really")
    put("data/model.bin", b"\0" * 100)

    def seen(name):
        return jupyter.get("storage/preview", params={"key": f"data/{name}"}).json()

    shown = seen("train.parquet")
    assert [name for name, _ in shown["columns"]] == ["price", "city"]
    assert shown["rows"] == [["1.5", "Ulm"], ["", "Köln"]]
    assert (shown["kind"], shown["remote"]) == ("table", "/mnt/s3/data/train.parquet")
    assert shown["words"].startswith("Table, 2 rows, 2 columns")
    assert "lk_a1B2" not in seen("notes.txt")["text"]
    assert seen("broken.parquet")["words"].startswith("Can't read this as parquet:")
    assert "No preview" in seen("model.bin")["words"]
    assert jupyter.get("storage/preview", params={"key": "data/none.csv"}).status_code == 404


def test_a_preview_whose_library_the_server_lacks_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = {"key": "t.parquet", "size": 4, "last_modified": "2026-01-01T00:00:00Z"}
    assert storage.file_preview(found, io.BytesIO(b"PAR1"))["words"] == (
        "This needs pyarrow in the environment of the Jupyter server. Load the file in a notebook, or install it "
        f"there: {build_extra_command('pandas')}"
    )
    assert "up to 50 MB" in storage.file_preview({**found, "size": storage.MOST_PREVIEWED + 1}, io.BytesIO())["words"]


def test_a_new_folder_is_empty_and_there_once(jupyter):
    assert jupyter.send("POST", "storage/folder", json={"folder": "fresh"}).status_code == 200
    assert names(jupyter) == ["fresh/"]
    assert names(jupyter, "fresh/") == []
    assert jupyter.send("POST", "storage/folder", json={"folder": "fresh/"}).status_code == 409
    assert jupyter.send("DELETE", "api/storage/delete-folder/fresh/").status_code == 200
    assert names(jupyter) == []


def test_a_file_moves_and_never_over_another_unasked(jupyter, put, cloud):
    put("a.txt", "first")
    put("b.txt", "second")
    taken = jupyter.send("POST", "storage/move", json={"source": "a.txt", "target": "b.txt"})
    assert (taken.status_code, keys(cloud)) == (409, ["a.txt", "b.txt"])
    move = {"source": "a.txt", "target": "b.txt", "overwrite": True}
    assert jupyter.send("POST", "storage/move", json=move).json() == {"objects": 1}
    assert keys(cloud) == ["b.txt"]
    assert jupyter.get("api/storage/download/b.txt").text == "first"


def test_a_folder_moves_with_all_that_is_in_it(jupyter, put, cloud):
    for key in ("old/1", "old/deep/2", "older/3"):
        put(key)
    assert jupyter.send("POST", "storage/move", json={"source": "old/", "target": "new/"}).json() == {"objects": 2}
    assert keys(cloud) == ["new/1", "new/deep/2", "older/3"]
    inside = jupyter.send("POST", "storage/move", json={"source": "new/", "target": "new/x/"})
    assert inside.json()["state"] == "bad-request"


def test_a_hostile_name_is_listed_read_moved_and_deleted_as_any_other(jupyter, put, cloud):
    put(HOSTILE, "text")
    assert names(jupyter, "h/") == [HOSTILE]
    answer = jupyter.get(f"api/storage/download/{quote(HOSTILE)}")
    assert answer.text == "text"
    assert "<img" not in answer.headers["content-disposition"]
    jupyter.send("POST", "storage/move", json={"source": HOSTILE, "target": f"{HOSTILE}2"})
    assert jupyter.send("DELETE", f"api/storage/delete/{quote(HOSTILE)}2").status_code == 200
    assert keys(cloud) == []


@pytest.mark.parametrize("key", ["../x", "a//b", "a/./b", "", "a\nb", "a\\..\\b", "a/%2e%2e/b", "a/..;/b"])
def test_a_name_that_leads_elsewhere_is_refused(jupyter, key):
    assert jupyter.get("storage/info", params={"key": key}).json()["state"] == "bad-request"
    move = jupyter.send("POST", "storage/move", json={"source": key, "target": "b"})
    assert move.json()["state"] == "bad-request"


SECRETS = re.compile(
    r"lk_(?!(?:request|frames)\b)[A-Za-z0-9]{6,}|eyJ[\w-]+\.[\w-]+\.|/api/v1/stream/|X-Amz-|secret_?key|session_token",
    re.IGNORECASE,
)


def test_no_answer_of_any_route_holds_a_secret(jupyter, cloud, put):
    put("a.txt", "plain")
    started = jupyter.send(
        "POST", "api/execution/streaming/start", json={"code": "print('done')", "execution_type": "cpu"}
    )
    run = started.json()["execution_id"]
    answers = [started, jupyter.get(f"runs/{run}/stream")]
    routes = ["status", "local", "journal", "storage/list", "api/storage/download/a.txt"]
    read = ["machine-types", "user/status", "user/org", "workloads/list", "billing/history", "orgs", "auth/api-keys/"]
    read += ["storage/list-files", "environment-variables/", "vms/list", "inference/list", "mfa/status", "pricing"]
    read += [
        f"execution/{run}",
        f"execution/{run}/metrics",
        f"logs/execution/{run}",
        "orgs/local/api-keys",
        "openai/v1/models",
    ]
    answers += [jupyter.get(path) for path in [*routes, *(f"api/{path}" for path in read)]]
    for method, path in [("POST", "storage/credentials"), ("POST", "auth/api-keys/"), ("POST", "mfa/enroll")]:
        answers.append(jupyter.send(method, f"api/{path}", json={"key_name": "x"}))
    answers += [jupyter.send("POST", path, json={}) for path in ("signin", "storage/move", "storage/folder")]
    for answer in answers:
        everything = answer.text + str(answer.headers)
        assert cloud.api_key not in everything
        assert not SECRETS.search(everything), f"{answer.url}: {SECRETS.search(everything)}"


def test_a_name_is_told_to_be_a_file_a_folder_or_nothing(jupyter, put):
    put("d/a.txt", "x")
    assert jupyter.get("storage/info", params={"key": "d/a.txt"}).json()["is_folder"] is False
    assert jupyter.get("storage/info", params={"key": "d"}).json()["key"] == "d/"
    assert jupyter.get("storage/info", params={"key": "d/a"}).status_code == 404


def test_a_copy_leaves_its_source(jupyter, put, cloud):
    put("a.txt", "x")
    assert jupyter.send("POST", "storage/move", json={"source": "a.txt", "target": "b.txt", "keep": True}).is_success
    assert keys(cloud) == ["a.txt", "b.txt"]


def test_of_uploads_at_once_under_one_name_that_may_replace_nothing_one_is_stored(jupyter, put, cloud):
    def upload(number, **headers):
        content = f"{number}".encode() * 100_000
        path, headers = "api/storage/upload?key=race.txt", {"If-None-Match": "*", **headers}
        answer = jupyter.send("POST", path, files={"file": content}, headers=headers)
        return answer.status_code, content

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(upload, range(6)))
    [stored] = [content for status, content in answers if status == 200]
    assert [status for status, _ in answers].count(412) == 5
    assert cloud.http.get("storage/download/race.txt").content == stored
    refused = jupyter.send(
        "POST", "api/storage/upload?key=race.txt", files={"file": b"new"}, headers={"If-None-Match": "*"}
    )
    assert (refused.status_code, refused.json()["state"]) == (412, "refused")
    assert "'race.txt' already exists in the bucket. Nothing was uploaded." in refused.json()["detail"]
    assert jupyter.send("POST", "api/storage/upload?key=race.txt", files={"file": b"new"}).status_code == 200
    cloud.http.delete("storage/delete/race.txt")
    assert upload(7)[0] == 200  # the name is free again
