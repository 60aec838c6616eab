import re
import subprocess
import sys

import pytest
from conftest import for_each
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import cpu_seconds

from lk_jupyter.text.secrets import SHAPES, LineRedactor, find_secrets, mask_secrets

KEY = "lk_" + "3fA9" * 8
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"
SIGNED = "https://s3.test/b/k.bin?X-Amz-Algorithm=AWS4&X-Amz-Credential=AK%2F1&X-Amz-Signature=ab12"

EXAMPLES = {
    "API key of Lyceum Cloud": KEY,
    "JSON Web Token": TOKEN,
    "private key": PRIVATE,
    "AWS key": "AKIA" + "Q7" * 8,
    "GitHub token": "ghp_" + "a1" * 18,
    "Hugging Face token": "hf_" + "aB" * 17,
    "Anthropic key": "sk-ant-api03-" + "x9" * 20,
    "Google key": "AIza" + "b-3_4" * 7,
}

#: The library's patterns, but those whose matches get a second look.
PATTERNS = [p for shape in SHAPES if shape.pattern.endswith("Detector") and not shape.real for p in shape.patterns]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_key_is_found_in_whole_wherever_it_stands(kind):
    text = f"token = '{EXAMPLES[kind]}'  # mine"
    (secret,) = find_secrets(text)
    assert secret.kind == kind
    assert text[secret.start : secret.end] == EXAMPLES[kind]


@pytest.mark.parametrize("before", ["\n", "\\n", "\\\\n", "\\t", "\x1b[1m", "\\u001b[32m", "_", "=", "ü "])
def test_a_key_is_found_behind_escapes_and_colours_too(before):
    (secret,) = find_secrets(f"x{before}{KEY}")
    assert secret.kind == "API key of Lyceum Cloud"


def test_a_signed_address_is_a_secret_from_its_question_mark_on():
    (secret,) = find_secrets(f"get {SIGNED} now")
    assert secret.kind == "signed URL"
    assert "get https://s3.test/b/k.bin?"[secret.start :] == ""
    assert f"get {SIGNED} now"[secret.end :] == " now"


def test_the_password_of_an_address_is_a_secret_and_its_user_is_not():
    for password in ("hunter2", "h$nter!2", "Caf\u00e9"):
        text = f"postgres://me:{password}@db/x"
        (secret,) = find_secrets(text)
        assert text[secret.start : secret.end] == password


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:20])
@settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_marks_miss_nothing_that_the_patterns_of_the_library_match(pattern, data):
    as_written = re.compile(pattern.pattern, re.ASCII)  # not in the mixed case that some would match too
    text = data.draw(st.from_regex(as_written, fullmatch=True))
    assert find_secrets(text), text


@pytest.mark.parametrize(
    "text",
    [
        "%load_ext lk_jupyter\n%lk_history --machine gpu.a100",
        "lk_checkpoint_every_1000 = lk_jupyter_experiment_baseline_v2",
        "eyJ is how a token begins, and eyJhbGciOiJ.not.json is none",
        "url = f'postgres://{user}:{password}@{host}/db'; url = 'http://me:$TOKEN@host'",
        "https://example.org/a:b@c and git@github.com:me/repo.git",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "run 3f0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44 on gpu.a100 with the task-usage of desk-top",
        "APPLICATION ACCESS MODEL SKLEARN_HALF_UP hf_hub_download(repo_id='bert-base-uncased')",
    ],
)
def test_ordinary_text_holds_none(text):
    assert find_secrets(text) == []


def test_a_key_in_use_is_found_whatever_its_shape():
    (secret,) = find_secrets("key = 'swordfish'", secrets=("swordfish", ""))
    assert (secret.start, secret.end) == (7, 16)


def test_neither_ordinary_text_nor_what_travels_with_a_run_loads_the_library():
    program = (
        "import sys; from lk_jupyter.text.secrets import find_secrets; from pathlib import Path;"
        "import lk_jupyter as ours;"
        "parts = Path(ours.__file__).parent.glob('remote/**/*.py');"
        "find_secrets('pip install a@https://b.test/c\\n' + ''.join(part.read_text('utf-8') for part in parts))"
    )
    check = "assert not {'detect_secrets', 'requests', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{program}; {check}"], check=True)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n" * 3_000,
        "lk_" + "3fA9" * 30_000,
        "ghp_" * 30_000,
        "?a=" * 40_000 + "X-Amz-Signature",
        "aws key '" * 10_000,
        "sk-ant-" * 20_000,
    ],
    ids=lambda text: text[:10],
)
def test_long_text_is_looked_through_in_no_time(text):
    find_secrets(text[:100])
    assert cpu_seconds(lambda: find_secrets(text), limit=2) < 2


#: What the shapes are made of, repeated: each made a pattern that starts anew at every mark quadratic, or could.
SEEDS = sorted(
    {mark for shape in SHAPES for mark in (*shape.marks, shape.also) if mark}
    | {"eyJ.", "eyJa.", "sk-", "sk-a", "sk-proj-", "?X-Amz-", "X-Amz-Signature=", "://a:", "://a:b@", "//a"}
    | {"//:_authToken=", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN ", "-----END ", "aws_key='", "aws key "}
    | {"xoxb-1-", "-us1", "pypi-AgEIcHlwaS5vcmc", "lk_a-", "A1b2", "0", "a", "-", ".", "/", "=", " ", "\n", "\\n", "'"}
    | {'"', "sk-" + "a" * 20 + "T3BlbkFJ", "\x1b[", "\x1b[0m"}
)


ENDS = ("", " ", "T3BlbkFJ.eyJ")


@for_each([(seed, ENDS[at % 3]) for at, seed in enumerate(SEEDS) if at % 4 == 0], repr)
def test_no_text_keeps_its_reader_busy(row, home):
    keeps_nobody_busy(*row)


FOLLOWED = [f"{mark}a" for shape in SHAPES for mark in shape.marks]


@pytest.mark.nightly
@for_each([(seed, end) for seed in (*SEEDS, *FOLLOWED) for end in ENDS], repr)
def test_no_text_keeps_its_reader_busy_however_it_ends(row, home):
    keeps_nobody_busy(*row)


def keeps_nobody_busy(seed, end):
    mask_secrets("eyJ.")
    text = (seed * 30_000)[:30_000] + end
    assert cpu_seconds(lambda: hide(text), limit=0.3) < 0.3


def hide(text):
    mask_secrets(f"{text}://@ . sk- T3BlbkFJ eyJ aws")
    LineRedactor().redact_unfinished(text)
    LineRedactor().redact_unfinished(f"{text}:/")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl.", "a eyJ…[redacted]."),
        ("Bearer=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl, b", "Bearer=eyJ…[redacted], b"),
        ("key: sk-" + "aB1" * 7 + "T3BlbkFJ" + "aB1" * 7 + " b", "key: …[redacted] b"),
        ("//registry.example/:_authToken=npm_" + "a" * 36 + " b", "//registry.example/:_authToken=…[redacted] b"),
    ],
)
def test_what_a_linear_pattern_finds_is_what_the_slow_one_found(text, shown):
    assert mask_secrets(text) == shown


def test_looking_for_secrets_leaves_the_warnings_of_the_process_as_they_are():
    code = (
        "import warnings\n"
        "from lk_jupyter.text.secrets import SHAPES\n"
        "[shape.patterns for shape in SHAPES]\n"
        "warnings.warn('still shown')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "UserWarning: still shown" in done.stderr
