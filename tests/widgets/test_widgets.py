"""Widgets without a browser: what Python sets, and what is left in the notebook."""

import os
import threading

import pytest
from patience import PATIENCE

from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.widgets import Balance, MachinePicker


@pytest.fixture
def picker(signed_in, monkeypatch):
    monkeypatch.setenv("LK_MACHINE", "gpu.l40s")
    picker = MachinePicker(memory="60 GB")
    picker.load()
    return picker


def profiles(picker):
    return [row["profile"] for row in picker.rows]


def test_a_picker_shows_what_fits_the_cheapest_first(picker):
    assert profiles(picker)[:2] == ["gpu.a100", "gpu.h100"]
    assert str(picker) == f"{picker}" == picker.value == "gpu.l40s", "it begins with the default machine"
    picker.choose_cheapest()
    assert str(picker) == "gpu.a100"


def test_what_cannot_be_read_is_said_and_the_table_stays(picker):
    before = profiles(picker)
    picker.wish = {**picker.wish, "price": "cheap"}
    assert picker.problem.startswith("The price 'cheap' isn't valid")
    assert profiles(picker) == before
    picker.wish = {**picker.wish, "price": "0.01"}
    assert (picker.problem[:19], profiles(picker)) == ("No machine matches.", [])
    picker.wish = {**picker.wish, "price": "", "limit": "5 h"}
    assert "The time limit must be" in picker.problem


def test_a_default_is_one_of_the_machines(picker):
    picker.value = "gpu.zzz"
    with pytest.raises(UsageError, match="Unknown machine"):
        picker.make_default()
    picker.value = "gpu.h100"
    picker.make_default()
    assert os.environ["LK_MACHINE"] == picker.default == "gpu.h100"


def test_what_cannot_be_loaded_is_tried_again_and_then_no_longer_said(picker, monkeypatch):
    with monkeypatch.context() as away:
        away.setattr(picker, "load", lambda: (_ for _ in ()).throw(LkError("The cloud cannot be reached.")))
        picker._answer_request({"do": "refresh"}, [])
    assert (picker.lost, picker.notice["kind"]) == (True, "error")
    picker._answer_request({"do": "refresh"}, [])
    assert (picker.lost, picker.notice["text"]) == (False, "")


def test_what_two_threads_change_at_the_same_time_reaches_the_page(picker, monkeypatch):
    sent, second_is_in, first_is_over = {}, threading.Event(), threading.Event()

    def change():
        with picker.hold_sync():
            picker.lost = True
            second_is_in.set()
            first_is_over.wait(PATIENCE)

    second = threading.Thread(target=change)

    def send(data, buffers=None):
        sent.update(data["state"])
        if not second.ident:
            second.start()
            second_is_in.wait(0.2)  # it may as well wait until this is sent

    monkeypatch.setattr(picker.comm, "send", send)
    with picker.hold_sync():
        picker.every = 1000
    first_is_over.set()
    second.join(PATIENCE)
    assert sent == {"every": 1000, "lost": True}


def test_what_is_said_of_a_click_stays_until_the_next_one(picker):
    picker.value = "gpu.zzz"
    picker._answer_request({"do": "make_default"}, [])
    picker._answer_request({"do": "refresh"}, [])
    assert "Unknown machine" in picker.notice["text"]
    picker._answer_request({"do": "choose_cheapest"}, [])
    assert picker.notice["text"] == "gpu.a100 is the cheapest match."


def test_a_picker_leaves_its_table_and_its_choice(picker):
    picker.value = "gpu.h100"
    assert "✓       gpu.h100" in picker.picture().text
    assert "Chosen: gpu.h100." in picker.picture().html


def test_a_balance_leaves_what_it_showed(make_cloud, home, monkeypatch):
    cloud = make_cloud()  # of one organization
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    money = Balance(days=7)
    money.load()
    money.by_day = [["2026-06-01", "0.0000", 0.0], ["2026-06-02", "2.00", 1.0]]
    text = money.picture().text
    assert f"Credits of {money.org}" in text
    assert "Running now  nothing" in text
    assert "2026-06-02     2.00" in text
    assert "2026-06-01" not in text
    assert [slug for slug, _ in money.orgs] == [money.org]
    money.close()
