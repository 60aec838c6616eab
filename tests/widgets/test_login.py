import pytest

from lk_jupyter.config import settings
from lk_jupyter.widgets import Login


@pytest.fixture
def asked(cloud, home, memory_keyring, monkeypatch):
    """A form of somebody who is not signed in to the server of the tests."""
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    return Login()


def use(widget, action, **args):
    widget._answer_request({"do": action, "args": args, "question": "1"}, [])


def test_a_key_signs_in_and_stands_nowhere(asked, cloud):
    use(asked, "refresh")
    assert asked.account == ""
    use(asked, "sign_in", key=f" {cloud.api_key} ")
    assert asked.account
    assert settings.credential(cloud.base_url).token == cloud.api_key
    assert cloud.api_key not in f"{asked.get_state()} {asked.picture()} {asked!r}"


def test_a_wrong_key_is_told_without_being_shown(asked):
    use(asked, "sign_in", key="lk_" + "wrong" * 8)
    assert "doesn't accept this key" in asked.notice["text"]
    assert "wrongwrong" not in str(asked.get_state())
    assert asked.account == ""


def test_signing_out_is_seen_at_once(asked, cloud):
    use(asked, "sign_in", key=cloud.api_key)
    use(asked, "sign_out")
    assert asked.account == ""
    assert "Deleted the key" in asked.notice["text"]


def test_the_browser_can_ask_for_nothing_but_actions(asked):
    use(asked, "close")
    use(asked, "_told", problem="x")
    assert asked.comm is not None
    assert asked.notice["text"] == ""
