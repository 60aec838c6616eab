"""The bucket as a drive: one walk through a file browser of Lab's own kind."""

import io
import re

import pandas as pd
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from ui.notebook import picture

SECRET = re.compile(r"lk_[A-Za-z0-9]{10,}|eyJ[\w-]+\.|X-Amz-|session_token", re.IGNORECASE)
SET = "window.jupyterapp.shell.currentWidget.context.model.sharedModel.setSource('changed in Lab')"
SAVE = "() => { window.jupyterapp.commands.execute('docmanager:save'); }"
CONTENTS = (
    "([verb, ...paths]) => window.jupyterapp.serviceManager.contents[verb](...paths.map(path => `bucket:${path}`))"
)


@pytest.fixture
def files(cloud):
    """Objects in the bucket; all that begins so is deleted at the end."""
    cloud.http.post("storage/upload", params={"key": "lab-drive/note.txt"}, files={"file": b"from the bucket"})
    cloud.http.post(
        "storage/upload",
        params={"key": "lab-drive/deep/n.ipynb"},
        files={"file": b'{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}'},
    )
    yield lambda: [row["key"] for row in cloud.http.get("storage/list-files", params={"prefix": "lab-drive/"}).json()]
    cloud.http.delete("storage/delete-folder/lab-drive/")


@pytest.mark.timeout(900)
def test_the_bucket_is_browsed_edited_and_changed_as_any_drive(open_notebook, cloud, files, accessible, tmp_path):
    told = []

    def on_response(response):
        told.append(response)

    book = open_notebook()
    page = book.page
    page.on("response", on_response)
    page.get_by_title("Bucket of the GPU cloud").click()
    bucket = page.locator("#lk-jupyter-bucket")
    bucket.locator(".jp-DirListing-item", has_text="lab-drive").dblclick()
    expect(bucket.locator(".jp-DirListing-item")).to_have_count(2)
    expect(bucket.locator(".jp-DirListing-item").first).to_contain_text("deep")
    accessible(bucket.locator(".jp-DirListing"))  # the buttons above are Lab's own, with findings of its own
    for theme in book.themes():
        picture(bucket, f"bucket-{theme}")

    bucket.locator(".jp-DirListing-item", has_text="note.txt").dblclick()
    expect(page.locator(".jp-FileEditor .cm-content")).to_contain_text("from the bucket")
    page.evaluate(SET)
    with page.expect_response(lambda answer: "/storage/upload" in answer.url):
        page.evaluate(SAVE)
    assert cloud.http.get("storage/download/lab-drive/note.txt").text == "changed in Lab"

    page.evaluate(CONTENTS, ["rename", "lab-drive/note.txt", "lab-drive/deep/moved.txt"])
    expect(bucket.locator(".jp-DirListing-item", has_text="note.txt")).to_have_count(0)
    with pytest.raises(PlaywrightError, match=re.escape("already exists. Nothing was moved.")):
        page.evaluate(CONTENTS, ["rename", "lab-drive/deep/moved.txt", "lab-drive/deep/n.ipynb"])
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(256)) * 12_000)
    _choose(bucket, large)
    expect(bucket.locator(".jp-DirListing-item", has_text="large.bin")).to_have_count(1)
    assert cloud.http.get("storage/download/lab-drive/large.bin").content == large.read_bytes()
    large.write_bytes(b"another")
    _upload_again(bucket, large, "Keep both")
    expect(bucket.locator(".jp-DirListing-item", has_text="large (1).bin")).to_have_count(1)
    large.write_bytes(b"a third")
    _upload_again(bucket, large, "Overwrite")
    assert cloud.http.get("storage/download/lab-drive/large.bin").content == b"a third"
    assert cloud.http.get("storage/download/lab-drive/large (1).bin").content == b"another"

    bucket.locator(".jp-DirListing-item", has_text="deep").dblclick()
    bucket.locator(".jp-DirListing-item", has_text="n.ipynb").wait_for()
    page.evaluate(CONTENTS, ["delete", "lab-drive/deep/n.ipynb"])
    expect(bucket.locator(".jp-DirListing-item")).to_have_count(1)
    assert files() == ["lab-drive/deep/moved.txt", "lab-drive/large (1).bin", "lab-drive/large.bin"]

    _looks_into_a_table(bucket, cloud, accessible)
    picture(page, "preview")
    bucket.locator(".jp-BreadCrumbs-home").click()
    expect(bucket.locator(".jp-DirListing-item", has_text="lab-drive")).to_be_visible()
    page.remove_listener("response", on_response)
    ours = [answer for answer in told if "/lk/" in answer.url]
    assert len(ours) > 5
    for answer in ours:
        assert cloud.api_key not in answer.text()
        assert not SECRET.search(answer.text() + str(answer.request.headers.get("authorization", "")))


def _choose(bucket, file):
    with bucket.page.expect_file_chooser() as chooser:
        bucket.locator("[data-jp-item-name='uploader'] jp-button").click()
    chooser.value.set_files(file)


def _upload_again(bucket, file, answer):
    """Upload a file whose name is taken, and answer what becomes of the object that has it."""
    _choose(bucket, file)
    question = bucket.page.get_by_role("dialog").filter(has_text=f"{file.name} already exists in the bucket.")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    with bucket.page.expect_response(lambda told: "/storage/upload" in told.url):
        question.get_by_role("button", name=answer).click()


def _looks_into_a_table(bucket, cloud, accessible):
    """Open a file that no editor of Lab shows."""
    table = io.BytesIO()
    pd.DataFrame({"price": [3.14159265, None], "city": ["Ulm", "Köln"]}).to_parquet(table)
    cloud.http.post("storage/upload", params={"key": "lab-drive/deep/t.parquet"}, files={"file": table.getvalue()})
    bucket.get_by_role("button", name="Refresh").click()
    bucket.locator(".jp-DirListing-item", has_text="t.parquet").dblclick()
    shown = bucket.page.get_by_role("region", name="Preview of lab-drive/deep/t.parquet")
    expect(shown.get_by_role("region", name="First rows")).to_contain_text("3.1416")
    expect(shown.get_by_role("columnheader", name="price")).to_have_text("price double, 1 null")
    expect(shown.get_by_role("button", name="Load into pandas")).to_be_visible()
    accessible(shown)
