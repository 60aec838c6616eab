import json
import os
import threading
from decimal import Decimal

import keyring
import pytest
from patience import PATIENCE

from lk_jupyter.config import credentials, settings
from lk_jupyter.config import keyring as _keystore
from lk_jupyter.config.credentials import Credential
from lk_jupyter.errors import NotSignedIn, UsageError

pytestmark = pytest.mark.usefixtures("home")

CLOUD = "https://api.lyceum.technology"
KEY = "lk_sentinel_0123456789"
JWT = "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"


@pytest.fixture
def write_config():
    def write(text):
        path = settings.config_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_lyceum(home):
    def write(**values):
        folder = home / ".lyceum"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
        return folder / "config.json"

    return write


# Where a value comes from


def test_without_anything_set_the_default_holds():
    assert settings.resolve("machine") == (None, "default")
    assert settings.resolve("base_url") == (CLOUD, "default")


def test_a_saved_value_comes_from_the_config_file():
    settings.save("machine", "gpu.a100")
    assert settings.resolve("machine") == ("gpu.a100", "config file")


def test_the_environment_goes_before_the_config_file(monkeypatch):
    settings.save("machine", "gpu.a100")
    monkeypatch.setenv("LK_MACHINE", "cpu")
    assert settings.resolve("machine") == ("cpu", "LK_MACHINE")


def test_an_empty_variable_counts_as_missing(monkeypatch):
    monkeypatch.setenv("LK_MACHINE", "")
    monkeypatch.setenv("LK_API_KEY", "")
    monkeypatch.setenv("LYCEUM_API_KEY", KEY)
    assert settings.resolve("machine").source == "default"
    assert settings.resolve("api_key") == (KEY, "LYCEUM_API_KEY")


def test_the_cloud_tools_own_file_is_the_last_place_looked_at(write_lyceum):
    write_lyceum(base_url="https://eu.example.org/", active_org_slug="team", api_key=KEY)
    assert settings.resolve("base_url") == ("https://eu.example.org", "~/.lyceum/config.json")
    assert settings.resolve("org") == ("team", "~/.lyceum/config.json")
    assert settings.resolve("api_key") == (KEY, "~/.lyceum/config.json")


def test_key_and_organization_of_the_cloud_tool_serve_its_own_server_only(write_lyceum):
    write_lyceum(active_org_slug="team", api_key=KEY)
    settings.save("base_url", "https://other.example.org")
    assert settings.resolve("org").value is None
    assert settings.credential() is None


def test_unset_brings_the_default_back():
    settings.save("timeout", 120)
    settings.save("timeout", None)
    assert settings.resolve("timeout") == (600, "default")


def test_numbers_and_folders_arrive_as_such(monkeypatch, home):
    monkeypatch.setenv("LK_TIMEOUT", "90")
    monkeypatch.setenv("LK_LOG_DIR", "~/my logs")
    assert settings.setting("timeout") == 90
    assert settings.setting("log_dir") == home / "my logs"


def test_every_default_is_one_that_its_own_parser_takes():
    for row in settings.SETTINGS:
        if row.default is not None and not row.secret:
            assert row.parse(str(row.default_value())) == row.default_value()


# What is refused


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        ("timeout", "0", "1 to 600"),
        ("timeout", "601", "max_timeout"),
        ("timeout", "1.5", "whole seconds"),
        ("timeout", "ten", "whole seconds"),
        ("log_lines", "-3", "1 to 1000000"),
        ("base_url", "api.lyceum.technology", "https://api.lyceum.technology"),
        ("base_url", "http://api.lyceum.technology", "https://"),
        ("base_url", "https://user:secret@api.lyceum.technology", "an address"),
        ("machine", "gpu a100", "one word"),
        ("org", "my team", "one word"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_form_it_takes(name, value, form):
    with pytest.raises(UsageError, match=form):
        settings.save(name, value)
    assert not settings.config_file().exists()


def test_a_variable_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setenv("LK_TIMEOUT", "soon")
    with pytest.raises(UsageError, match=r"timeout \(from LK_TIMEOUT\) takes .* not 'soon'"):
        settings.setting("timeout")


def test_a_longer_limit_is_a_setting_away():
    settings.save("max_timeout", 7200)
    settings.save("timeout", 3600)
    assert settings.setting("timeout") == 3600


def test_an_unknown_setting_names_those_there_are():
    with pytest.raises(UsageError, match=r"Unknown setting 'colour'.*base_url.*machine"):
        settings.save("colour", "red")


def test_a_file_is_no_folder(home):
    (home / "logs").write_text("")
    with pytest.raises(UsageError, match="a folder"):
        settings.save("log_dir", home / "logs")


def test_a_broken_config_file_is_named_with_the_position(write_config):
    path = write_config('{\n  "machine": gpu\n}')
    with pytest.raises(UsageError) as caught:
        settings.setting("machine")
    assert str(path) in str(caught.value)
    assert "line 2, column 14" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", "\udcff"])
def test_a_config_file_of_another_kind_is_broken_too(write_config, text):
    path = write_config("{}")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match="Repair or delete it"):
        settings.setting("machine")


def test_a_secret_cannot_be_saved_as_a_setting():
    with pytest.raises(UsageError, match="%lk_login") as caught:
        settings.save("api_key", KEY)
    assert KEY not in str(caught.value)


# The file


def test_only_its_owner_can_read_the_config_file():
    settings.save("machine", "cpu")
    for path in (settings.config_file(), settings.config_file().parent):
        assert os.name == "nt" or not path.stat().st_mode & 0o077


def test_saving_leaves_no_other_file_behind():
    settings.save("machine", "cpu")
    settings.save("timeout", 30)
    assert [path.name for path in settings.config_file().parent.iterdir()] == ["config.json"]
    assert (settings.setting("machine"), settings.setting("timeout")) == ("cpu", 30)


# Keys


@pytest.mark.parametrize(
    "key", ["sk-123", "lk_!", "lk_a b", 'lk_"quoted"', "lk_key\n", "a.b", "Bearer lk_key", "a.b.c.d"]
)
def test_a_key_of_the_wrong_shape_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv("LK_API_KEY", key)
    with pytest.raises(UsageError, match="An API key looks like lk_") as caught:
        settings.credential()
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", [KEY, "lk_live_a-b", JWT])
def test_keys_and_session_tokens_are_keys(monkeypatch, key):
    monkeypatch.setenv("LK_API_KEY", key)
    assert settings.credential().token == key


def test_no_key_is_none():
    assert settings.credential() is None
    assert settings.resolve("api_key") == (None, "default")


def test_a_stored_key_goes_to_its_own_server_only():
    credentials.store_key(Credential(CLOUD, KEY))
    assert settings.credential(CLOUD).token == KEY
    assert settings.credential("https://other.example.org") is None


def test_without_a_keyring_the_key_is_kept_in_the_config_file():
    where = credentials.store_key(Credential(CLOUD, JWT, "refresh"))
    assert where == f"the file {settings.config_file()}"
    found = settings.credential()
    assert (found.token, found.refresh_token, found.source) == (JWT, "refresh", "config file")


@pytest.mark.usefixtures("memory_keyring")
def test_with_a_keyring_the_config_file_holds_no_secret():
    assert credentials.store_key(Credential(CLOUD, JWT, "refresh-secret")) == "keyring"
    assert JWT not in settings.config_file().read_text()
    assert "refresh-secret" not in settings.config_file().read_text()
    found = settings.credential()
    assert (found.token, found.refresh_token, found.source) == (JWT, "refresh-secret", "keyring")


@pytest.mark.usefixtures("memory_keyring")
def test_a_key_that_another_kernel_stored_is_seen_at_once():
    credentials.store_key(Credential(CLOUD, KEY))
    assert settings.credential().token == KEY
    credentials.store_key(Credential(CLOUD, "lk_newer"))
    assert settings.credential().token == "lk_newer"


def test_forgetting_a_key_removes_it_from_the_keyring(memory_keyring):
    credentials.store_key(Credential(CLOUD, KEY))
    assert credentials.delete_key(CLOUD)
    assert memory_keyring.kept == {}
    assert settings.credential() is None
    assert not credentials.delete_key(CLOUD)


def test_a_repr_hides_the_secrets():
    shown = repr(Credential(CLOUD, KEY, "refresh-secret", "keyring"))
    assert KEY not in shown
    assert "refresh-secret" not in shown


def test_looking_the_key_up_does_not_show_it(monkeypatch):
    monkeypatch.setenv("LK_API_KEY", KEY)
    assert repr(settings.resolve("api_key")) == "Resolved(source='LK_API_KEY')"


def test_a_keyring_that_stays_locked_is_told_in_words(memory_keyring, monkeypatch):
    credentials.store_key(Credential(CLOUD, KEY))
    unlocked = threading.Event()
    monkeypatch.setattr(memory_keyring, "get_password", lambda *_: unlocked.wait(PATIENCE))
    monkeypatch.setattr(_keystore, "PATIENCE", 0.05)
    with pytest.raises(NotSignedIn, match=r"did not answer.*locked.*LK_API_KEY"):
        settings.credential()
    unlocked.set()


def test_a_keyring_that_fails_is_replaced_by_the_file(memory_keyring, monkeypatch):
    def fail(*_):
        raise keyring.errors.PasswordSetError(f"no room for {KEY}")

    monkeypatch.setattr(memory_keyring, "set_password", fail)
    assert credentials.store_key(Credential(CLOUD, KEY)).endswith("config.json")
    assert settings.credential().source == "config file"


def test_a_renewed_session_of_the_cloud_tool_is_kept_by_us_and_not_there(write_lyceum):
    path = write_lyceum(api_key=JWT, refresh_token="theirs")
    before = path.read_bytes()
    theirs = settings.credential()
    credentials.store_key(Credential(theirs.base_url, "new.to.ken", "ours", theirs.source))
    assert settings.credential().token == "new.to.ken"
    credentials.store_key(Credential(theirs.base_url, "newer.to.ken", "ours", settings.credential().source))
    assert settings.credential().token == "newer.to.ken"
    assert path.read_bytes() == before


def test_who_signs_in_again_with_the_cloud_tool_is_not_held_to_an_older_session(write_lyceum):
    write_lyceum(api_key=JWT, refresh_token="theirs")
    theirs = settings.credential()
    credentials.store_key(Credential(theirs.base_url, "new.to.ken", "ours", theirs.source))
    write_lyceum(api_key="lk_another_account")
    assert settings.credential().token == "lk_another_account"


@pytest.mark.parametrize(("text", "value"), [("2", "2"), ("0.05", "0.05"), ("1e2", "100")])
def test_an_amount_of_credits_is_kept_without_losing_a_digit(text, value):
    settings.save("day_budget", text)
    assert settings.setting("day_budget") == Decimal(value)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much", "2 credits"])
def test_what_is_no_amount_of_credits_is_refused(text):
    with pytest.raises(UsageError, match=r"max_cost takes credits above 0, such as 2\.50"):
        settings.save("max_cost", text)


@pytest.mark.parametrize(
    ("text", "value"), [("off", False), ("OFF", False), ("0", False), ("on", True), ("true", True)]
)
def test_a_switch_is_on_or_off(text, value):
    settings.save("hints", text)
    assert settings.setting("hints") is value


def test_what_is_neither_on_nor_off_is_refused():
    with pytest.raises(UsageError, match="hints takes on or off, not 'maybe'"):
        settings.save("hints", "maybe")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("1.5 h", 5400), ("2 hours 5 min", 7500)],
)
def test_a_duration_is_read_as_people_write_it(text, seconds):
    assert settings.parse_duration(text) == seconds
    settings.save("max_timeout", text)
    assert settings.setting("max_timeout") == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "10m later", "-5m", "1.5", "0.3s", "٣m", "1:30"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="such as 90s, 10m or 1h30m"):
        settings.parse_duration(text)


def test_settings_of_one_cell_are_read_once_and_those_of_the_next_anew(write_config):
    write_config('{"timeout": 30}')
    with settings.one_reading():
        assert settings.setting("timeout") == 30
        write_config('{"timeout": 40, "parallel": 3}')
        assert (settings.setting("timeout"), settings.setting("parallel")) == (30, 8)
        settings.save("machine", "cpu")  # what is stored here counts at once
        assert (settings.setting("timeout"), settings.setting("machine")) == (40, "cpu")
        assert settings.setting("max_timeout") == 600
        settings.save("guess.longest_run", "300")
        assert settings.setting("max_timeout") == 300
    write_config('{"timeout": 50}')
    assert settings.setting("timeout") == 50
