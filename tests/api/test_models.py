import importlib
import pkgutil
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import TypeAdapter

from lk_jupyter import api
from lk_jupyter.api._models import Credits, DecimalString, Model, OffsetPage, Page, Texts, Timestamp
from lk_jupyter.api.billing import ExecutionHistory
from lk_jupyter.api.execution import ExecutionRecord, Metadata
from lk_jupyter.api.inference import Deployment, DeploymentState
from lk_jupyter.api.user import UserQuotas

NOON = datetime(2026, 6, 2, 12, 0, tzinfo=timezone.utc)


def read(kind, json):
    return TypeAdapter(kind).validate_json(json)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-02T12:00:00Z", NOON),
        ("2026-06-02T12:00:00", NOON),
        ("2026-06-02T14:00:00+02:00", NOON),
        ("2026-06-02 12:00:00.5+00:00", NOON + timedelta(seconds=0.5)),
        ("2026-06-02T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
    ],
)
def test_a_time_is_read_in_every_notation_and_has_a_zone(text, moment):
    assert read(Timestamp, f'"{text}"') == moment
    assert read(Timestamp, f'"{text}"').tzinfo is not None


@pytest.mark.parametrize(
    ("json", "credits_"), [("0.0041", "0.0041"), ("1.284", "1.284"), ("5", "5"), ('"2.50"', "2.50")]
)
def test_money_is_exact(json, credits_):
    assert read(Credits, json) == Decimal(credits_)
    assert read(DecimalString, json) == Decimal(credits_)


def test_money_is_written_as_the_api_writes_it():
    assert TypeAdapter(Credits).dump_json(Decimal("0.0041")) == b"0.0041"
    assert TypeAdapter(DecimalString).dump_json(Decimal("0.0000006")) == b'"0.0000006"'


def test_text_and_lists_of_text_are_both_lists():
    assert read(Texts, '"out of memory"') == ["out of memory"]
    assert read(Texts, '["a", "b"]') == ["a", "b"]


def test_metadata_may_come_as_json_text():
    assert read(Metadata, '"{\\"cell\\": \\"7\\"}"') == read(Metadata, '{"cell": "7"}') == {"cell": "7"}


def test_quotas_may_come_under_a_wrapper():
    assert read(UserQuotas, '{"quotas": {"gpu.a100": true}}') == read(UserQuotas, '{"gpu.a100": true}')


def test_unknown_fields_and_words_are_kept():
    record = read(
        ExecutionRecord, '{"execution_id": "e", "status": "dreaming", "created_at": "2026-06-02", "new": [1]}'
    )
    assert record.status == "dreaming"
    assert record.model_dump()["new"] == [1]


def test_a_bare_list_is_iterated_indexed_and_counted():
    page = read(Page[int], "[3, 4]")
    assert (list(page), page[1], len(page)) == ([3, 4], 4, 2)


def _history(offset, total=5, limit=2):
    runs = [
        {
            "execution_id": str(n),
            "created_at": NOON,
            "execution_type": "cpu",
            "status": "completed",
            "hardware_profile": "cpu",
        }
        for n in range(offset, min(offset + limit, total))
    ]
    page = ExecutionHistory(executions=runs, total_executions=total, total_credits_spent=1, limit=limit, offset=offset)
    page._fetch = lambda changes: _history(changes["offset"])
    return page


def test_a_page_fetches_the_following_ones_to_the_end():
    assert [run.execution_id for run in _history(1).all()] == ["1", "2", "3", "4"]
    assert _history(2).next_page().offset == 4
    assert _history(4).next_page() is None


def test_an_empty_page_ends_the_list_whatever_the_total_says():
    page = _history(5, total=5)
    page.total_executions = 99
    assert list(page.all()) == []


def test_a_page_made_by_hand_knows_no_following_one():
    page: OffsetPage = _history(0)
    page._fetch = None
    assert page.next_page() is None


@pytest.mark.parametrize("name", ["deployment_id", "deploymentId", "id"])
@pytest.mark.parametrize("kind", [Deployment, DeploymentState])
def test_the_id_of_a_deployment_may_have_other_names_and_be_a_number(kind, name):
    assert kind.model_validate({name: 7}).deployment_id == "7"


#: Fields that hold a secret, or text in which people write one.
SECRET = re.compile(
    r"\w+\.(\w*password|secret|\w+_token|api_key|plaintext_key|secret_key|aws_\w*key\w*|backup_codes|qr_code\w*)"
    r"|\w+\.(streaming_url|docker_run_(cmd|env)|compose_file_code)|EnvironmentVariable\w*\.value|(Mfa|Voucher)\w+\.code"
)


def test_no_model_shows_a_secret_in_its_repr():
    for module in pkgutil.iter_modules(api.__path__, f"{api.__name__}."):
        importlib.import_module(module.name)
    models = [Model]
    for model in models:
        models += model.__subclasses__()
    fields = {f"{model.__name__}.{name}": field.repr for model in models for name, field in model.model_fields.items()}
    secret = {name: shown for name, shown in fields.items() if SECRET.fullmatch(name)}
    assert len(secret) > 30
    assert [name for name, shown in secret.items() if shown] == []
