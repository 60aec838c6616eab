"""Work for two organizations from one Lab: what is shown is the present one's."""

import pytest
from playwright.sync_api import expect
from serverext.conftest import environment

from lk_jupyter.api.orgs import OrgCreate
from ui import lab


@pytest.fixture
def two_organizations(make_cloud):
    """A cloud whose user has two organizations, with a folder in the bucket of the first."""
    cloud = make_cloud()
    cloud.http.post("storage/upload", params={"key": "data/mine.txt"}, files={"file": b"mine"}).raise_for_status()
    cloud.client.orgs.create(OrgCreate(name="The team", slug="team"))
    return cloud


@pytest.mark.timeout(900)
def test_another_organization_has_a_bucket_of_its_own(two_organizations, page, tmp_path):
    (tmp_path / "root").mkdir()
    signed_in = {"LK_BASE_URL": two_organizations.base_url, "LK_API_KEY": two_organizations.api_key}
    with lab.running(tmp_path / "settings", tmp_path / "root", environment(tmp_path, **signed_in)) as running:
        page.goto(f"{running.url}/lab?token={running.token}&reset")
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        page.get_by_title("Bucket of the GPU cloud").click()
        files = page.locator("#lk-jupyter-bucket .jp-DirListing-item")
        files.filter(has_text="data").dblclick()
        expect(files).to_contain_text(["mine.txt"])
        page.get_by_role("tab", name="GPU cloud", exact=True).click()
        panel = page.locator("#lk-jupyter-panel")
        panel.get_by_role("button", name="Account", exact=True).click()
        panel.get_by_label("Organization").select_option(label="The team")
        expect(page.locator(".lk-statusbar")).to_contain_text("The team")
        page.get_by_title("Bucket of the GPU cloud").click()
        expect(page.get_by_text("No files. Drop files here, or click Upload.")).to_be_visible()
        expect(files).to_have_count(0)
        page.get_by_role("tab", name="GPU cloud", exact=True).click()
        panel.get_by_label("Organization").select_option(label="Local user")
        expect(page.locator(".lk-statusbar")).not_to_contain_text("The team")
        panel.get_by_role("button", name="Storage", exact=True).click()
        panel.get_by_role("button", name="Open the bucket").click()
        expect(files).to_contain_text(["data"])
        page.goto("about:blank")  # before its server ends
