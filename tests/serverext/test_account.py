"""Signing in and out from a page, as %lk_login does it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import httpx
import pytest
from conftest import WITHOUT
from serverext.conftest import running


@pytest.fixture(scope="module")
def strangers_server(cloud, tmp_path_factory):
    home = tmp_path_factory.mktemp("stranger")
    with running(home, LK_LOCAL_DATA=str(cloud.data)) as server:
        server.home = home
        yield server


@pytest.fixture
def stranger(strangers_server):
    """A Jupyter server of a user who has not signed in; the cloud is the local one of the machine."""
    yield strangers_server
    strangers_server.send("POST", "organization", json={"slug": None})
    strangers_server.send("POST", "signout")


def test_a_user_signs_in_with_a_key_works_and_signs_out(stranger, cloud):
    assert stranger.get("status").json()["state"] == "signed-out"
    assert stranger.get("api/machine-types").status_code == 424
    wrong = stranger.send("POST", "signin", json={"api_key": "lk_wrong", "base_url": cloud.base_url})
    assert (wrong.json()["state"], "Nothing was changed" in wrong.json()["detail"]) == ("refused", True)
    done = stranger.send("POST", "signin", json={"api_key": cloud.api_key, "base_url": cloud.base_url}).json()
    assert (done["state"], done["user"]["email"]) == ("signed-in", "local@localhost")
    assert "the key is stored in the file" in done["said"][0]
    assert stranger.get("api/machine-types").json()["count"] > 0
    gone = stranger.send("POST", "signout").json()
    assert (gone["state"], gone["said"]) == ("signed-out", [f"Deleted the key for {cloud.base_url}."])
    assert stranger.get("api/machine-types").json()["state"] == "signed-out"
    assert cloud.api_key not in (stranger.home / "jupyter.log").read_text()


@pytest.mark.parametrize(
    "body", ["{", "[]", "{}", '{"api_key": 1}', '{"api_key": "two words"}', '{"api_key": "lk_x", "base_url": "no"}']
)
def test_a_body_that_does_not_fit_is_told_in_one_line_without_its_values(jupyter, body):
    answer = jupyter.send("POST", "signin", content=body)
    assert (answer.status_code, answer.json()["state"]) == (400, "bad-request")
    assert "\n" not in answer.json()["detail"]
    assert "two words" not in answer.text


def test_the_local_cloud_is_found_and_used_without_a_key(stranger, cloud):
    found = stranger.get("local").json()
    assert found == {"installed": True, "running": True, "base_url": cloud.base_url}
    done = stranger.send("POST", "local").json()
    assert (done["state"], done["is_local"], done["base_url"]) == ("signed-in", True, cloud.base_url)
    assert stranger.send("POST", "signout").json()["state"] == "signed-out"


def test_another_organization_is_acted_as_from_then_on(stranger, cloud):
    stranger.send("POST", "local")
    team = cloud.http.post("orgs", json={"name": "Team B"}).json()
    done = stranger.send("POST", "organization", json={"slug": team["slug"]}).json()
    assert (done["organization"]["slug"], done["balance_path"]) == (team["slug"], f"orgs/{team['slug']}/balance")
    assert "balance" in stranger.get(f"api/{done['balance_path']}").json()
    back = stranger.send("POST", "organization", json={"slug": None}).json()
    assert back["organization"]["is_personal"]


def test_a_key_that_is_revoked_while_pages_are_open_is_told_to_both(cloud, tmp_path):
    made = cloud.http.post("auth/api-keys/", json={"key_name": "soon gone"}).json()
    with running(tmp_path, LK_BASE_URL=cloud.base_url, LK_API_KEY=made["api_key"]) as server:
        assert server.get("api/machine-types").status_code == 200
        cloud.http.delete(f"auth/api-keys/{made['id']}").raise_for_status()
        with httpx.Client(base_url=server.url, cookies=server.page.cookies, headers=server.page.headers) as other_tab:
            for page in (server.page, other_tab):
                answer = page.get("lk/api/machine-types")
                assert (answer.status_code, answer.json()["state"]) == (424, "revoked")
        assert server.get("status").json()["state"] == "revoked"


def test_a_sign_in_by_a_kernel_is_seen_without_a_restart(stranger, cloud):
    config = stranger.home / ".config" / "lk_jupyter" / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    assert stranger.get("status").json()["state"] == "signed-out"
    key = {"stored": "now", "token": cloud.api_key, "refresh_token": None}
    config.write_text(json.dumps({"base_url": cloud.base_url, "credentials": {cloud.base_url: key}}))
    assert stranger.get("status").json()["state"] == "signed-in"


def test_a_session_that_ends_is_renewed_by_the_server(make_cloud, tmp_path):
    cloud = make_cloud("--access-seconds", "200")  # due at every call
    cloud.add_user("ada@example.com")
    pair = cloud.http.post("auth/login", json={"email": "ada@example.com", "password": "correct horse"}).json()
    lyceum = tmp_path / ".lyceum" / "config.json"
    lyceum.parent.mkdir()
    kept = {"api_key": pair["access_token"], "refresh_token": pair["refresh_token"], "base_url": cloud.base_url}
    lyceum.write_text(json.dumps(kept))
    with running(tmp_path, LK_BASE_URL=cloud.base_url) as server:
        for _ in range(3):
            assert server.get("status").json()["user"]["email"] == "ada@example.com"


@pytest.mark.nightly
def test_the_extension_is_found_where_the_package_is_installed():
    command = [sys.executable, "-m", "jupyter_server", "extension", "list"]
    env = {**os.environ, "PYTHONPATH": WITHOUT}
    listed = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert re.search(r"lk_jupyter.*enabled", listed.stdout + listed.stderr)
