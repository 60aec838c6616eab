import io

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

from lk_jupyter.storage.storage import Storage
from ui.notebook import says_once

FILES = """() => {
    const files = new DataTransfer();
    files.items.add(new File(['city,price\\nUlm,1\\nKöln,2\\n'], "it's 100% new.csv"));
    return files;
}"""


@pytest.fixture
def bucket(cloud, tmp_path):
    """A bucket with a folder of everything."""
    storage = Storage(cloud.client.storage.credentials)
    image, table = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(image, "PNG")
    pd.DataFrame({"price": [1.5, 2.5], "city": ["Ulm", "Köln"]}).to_parquet(table)
    files = {
        "images/logo.png": image.getvalue(),
        "images/deep/none.txt": b"",
        "train.parquet": table.getvalue(),
        "broken.parquet": b"PAR1 not really",
        "notes.md": b"# Notes\n\nof the bucket\n",
        "zero.csv": b"",
    }
    for name, content in files.items():
        storage.put(content, f"ui/{name}")
    for n in range(300):
        (tmp_path / f"{n:04}.txt").write_bytes(b"x")
    storage.put(tmp_path, "ui/many")
    yield storage
    storage.remove("ui/")


@pytest.mark.timeout(900)
def test_somebody_looks_around_in_the_bucket_drops_a_file_and_loads_tables(open_notebook, page, bucket, accessible):
    book = open_notebook(
        "from lk_jupyter.widgets import StorageBrowser\nStorageBrowser('ui')",
        "print(it_s_100_new.shape, cities['city'].tolist())",
    )
    browser = book.run(0)
    rows = browser.get_by_role("treeitem")
    expect(rows).to_have_count(6)

    browser.get_by_role("treeitem", name="broken.parquet").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(rows).to_have_count(6 + 2)
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(browser.get_by_role("img", name="ui/images/logo.png")).to_be_visible()

    browser.get_by_role("treeitem", name="many/").click()
    expect(rows).to_have_count(6 + 2 + 201)
    browser.get_by_role("treeitem", name="200 shown").click()
    expect(rows).to_have_count(6 + 2 + 300)
    browser.get_by_label("Find").fill("0123")
    expect(browser.get_by_text("1 of ")).to_be_visible()
    browser.get_by_label("Find").fill("012")
    page.keyboard.press("Enter")
    expect(browser.get_by_role("treeitem", name="Filtered: only names that start with “012”")).to_be_visible()
    expect(rows).to_have_count(6 + 2 + 11)
    browser.get_by_role("treeitem", name="many/").press("ArrowLeft")
    sort_by = browser.get_by_role("group", name="Sort by")
    for last in ("zero.csv", "train.parquet"):  # the largest files first, then the smallest
        sort_by.get_by_role("button", name="Size").click()
        expect(rows.last).to_contain_text(last)
    sort_by.get_by_role("button", name="Name").click()

    crumbs = browser.get_by_role("navigation", name="Folder").get_by_role("button")
    expect(crumbs).to_have_text(["ui", "many"])
    crumbs.first.press("Enter")
    browser.get_by_role("button", name="New folder").press("Enter")
    browser.get_by_label("New folder in ui/").fill("new")
    page.keyboard.press("Enter")
    browser.get_by_role("treeitem", name="new/").press("ArrowRight")
    expect(browser.get_by_role("treeitem", name="Empty: drop files here")).to_be_visible()
    expect(crumbs).to_have_text(["ui", "new"])

    browser.get_by_role("treeitem", name="notes.md").dispatch_event(
        "drop", {"dataTransfer": page.evaluate_handle(FILES)}
    )
    says_once(page, r"A run opens the file as /mnt/s3/ui/it's 100% new\.csv")
    browser.get_by_role("treeitem", name="it's 100% new.csv").click()
    expect(browser.get_by_role("region", name="First rows")).to_contain_text("Köln")
    browser.get_by_role("button", name="Load into pandas").click()
    code = 'read_csv("lk://ui/it\'s 100% new.csv")'  # later also in the picture behind the living widget
    expect(browser.get_by_text(code).filter(visible=True)).to_have_count(1)

    browser.get_by_role("treeitem", name="train.parquet").click()
    expect(browser.get_by_role("region", name="Preview of ui/train.parquet")).to_be_visible()
    expect(browser.get_by_role("region", name="First rows")).to_contain_text("Köln")
    browser.get_by_label("as", exact=True).fill("cities")
    page.keyboard.press("Enter")
    book.says_once(0, "cities: DataFrame, 2 rows, 2 columns")
    book.pictures("storage-browser")
    accessible(browser)
    expect(book.run(1)).to_contain_text("(2, 2) ['Ulm', 'Köln']")
