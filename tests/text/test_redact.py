import html
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lk_jupyter.api._tokens import secret as taken
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.magics._output.log import LogOutput
from lk_jupyter.runs.containers.registry import RegistryLogin
from lk_jupyter.runs.outcome import Result
from lk_jupyter.text import secrets
from lk_jupyter.text.secrets import MARK, LineRedactor, redact, redact_bundle

KEY = "lk_" + "3fA9" * 8
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
PRIVATE = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEowIBAAKC", "Zm9vYmFyYmF6", "-----END RSA PRIVATE KEY-----"]


@pytest.fixture(autouse=True)
def _home(home):
    """No settings but the defaults."""


def test_a_secret_gives_way_to_its_first_characters_and_a_mark():
    assert redact(f"key={KEY}, token={TOKEN}.") == f"key=lk_{MARK}, token=eyJ{MARK}."


def test_text_without_secrets_is_as_it_was():
    text = "\x1b[32mok\x1b[0m lk_jupyter at http://127.0.0.1:8888/"
    assert redact(text) is text


def test_a_secret_that_colours_cut_is_found_too():
    assert redact(f"\x1b[32m{KEY[:6]}\x1b[1m{KEY[6:]}\x1b[0m") == f"lk_{MARK}"
    assert redact(f"\x1b[32m{KEY[:30]}\x1b[0m{KEY[30:]}") == f"lk_{MARK}"


def test_off_means_off(monkeypatch):
    monkeypatch.setenv("LK_SECRET_GUARD", "off")
    assert redact(KEY) == KEY


def test_a_private_key_over_many_lines_is_one_mark():
    shown = LineRedactor().lines(["before", *PRIVATE, "after"])
    assert shown == ["before", MARK, "after"]


def test_the_texts_of_a_bundle_are_redacted_and_its_pictures_are_not():
    data = {
        "text/plain": KEY,
        "text/html": f"<b>{KEY}</b>",
        "application/json": {"tokens": [TOKEN, 1, None], KEY: True},
        "image/png": KEY,
        "image/svg+xml": f"<text>{KEY}</text>",
    }
    shown = redact_bundle(data)
    assert shown.pop("image/png") == KEY
    assert KEY not in str(shown)
    assert TOKEN not in str(shown)
    assert shown["application/json"][f"lk_{MARK}"] is True


def test_a_result_keeps_the_output_and_its_repr_does_not_show_the_secret():
    result = Result("3f0c", f"{KEY}\n", "", 0, 1.0, None)
    assert result.stdout == f"{KEY}\n"
    assert KEY not in repr(result)
    assert f"lk_{MARK}" in repr(result)


def shown_in_pieces(text, cuts, tmp_path, limit=1000):
    """Return every piece that the cell gets when the text comes cut so."""
    written = []
    output = LogOutput(written.append, written.append, lambda _: None, limit=limit)
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        output.show(text[start:end])
    output.end()
    return written


@settings(database=None)
@given(cuts=st.lists(st.integers(0, 130), max_size=8).map(sorted), secret=st.sampled_from([KEY, TOKEN]))
@example(cuts=[9, 55, 61], secret=TOKEN)  # the first two parts of a web token are one, and a half of the third is none
def test_no_cut_of_the_stream_shows_a_piece_of_a_secret(cuts, secret, tmp_path_factory):
    text = f"one line\nthe key: {secret} and more\nand 50%\r100%\nlast {secret}\n"
    shown = shown_in_pieces(text, cuts, tmp_path_factory.getbasetemp())
    pieces = {secret[at : at + 8] for at in range(3, len(secret) - 8)}
    assert not [piece for piece in pieces if piece in "".join(shown)]
    assert "".join(shown).count(MARK) == 2


def test_the_lines_beyond_the_first_and_the_note_on_them_are_redacted_too(tmp_path):
    text = "".join(f"line {number} {KEY}\n" for number in range(10))
    shown = "".join(shown_in_pieces(text, [40, 200], tmp_path, limit=2))
    assert KEY[3:] not in shown
    assert "line 9" in shown


def test_a_password_that_is_being_printed_is_not_shown_in_part(tmp_path):
    shown = "".join(shown_in_pieces("at db://me:hunter2secret@host\n", [18], tmp_path))
    assert "hunter" not in shown
    assert shown.endswith(f"db://me:{MARK}@host\n")


@pytest.fixture
def odd(monkeypatch):
    """A secret without any shape that this process uses from now on, and after the test no more."""
    monkeypatch.setattr(secrets, "_in_use_secrets", {})
    monkeypatch.setattr(secrets, "in_use", ())
    return 'my "odd" <key> & päss'


@pytest.mark.parametrize("form", [str, html.escape, json.dumps, repr], ids=["plain", "html", "json", "repr"])
def test_whoever_reads_an_output_finds_no_secret_in_use_whatever_its_shape(odd, form):
    secrets.register_secrets(odd)
    assert "odd" not in redact(f"before {form(odd)} after")
    assert "odd" not in str(redact_bundle({"text/html": form(odd), "application/json": {form(odd): [form(odd)]}}))
    assert "odd" not in str(LineRedactor().lines([f"a {form(odd)}", "b"]))
    assert redact("before and after") == "before and after"


def test_a_secret_in_use_is_not_shown_though_the_guard_is_off_nor_piece_by_piece(odd, monkeypatch):
    monkeypatch.setenv("LK_SECRET_GUARD", "off")
    secrets.register_secrets("correct-horse-battery")
    assert redact("x correct-horse-battery y") == f"x {MARK} y"
    assert LineRedactor().redact_unfinished("x correct-ho") == "x "
    assert LineRedactor().redact_unfinished("x cor") == "x cor"


def test_what_signs_requests_is_in_use_and_so_are_keys_of_the_bucket_and_passwords_of_registries(odd):
    taken("opaque.session.token")
    StorageCredentials(
        access_key="a", secret_key="bucket/secret", session_token="bucket/token", endpoint="e", bucket_name="b",
        expires_at="2026-11-26T00:00:00Z",
    )  # fmt: skip
    RegistryLogin({}, ("registry password",))
    for value in ("opaque.session.token", "bucket/secret", "bucket/token", "registry password"):
        assert redact(f"({value})") == f"({MARK})"


def test_a_short_word_is_no_secret_though_it_is_a_password(odd):
    secrets.register_secrets("word", "", None)
    assert redact("a word") == "a word"
