"""The ledger by itself: booked once, exact, the same whichever way it is read."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from decimal import Decimal

import pytest
from fastapi import HTTPException
from hypothesis import given, settings
from hypothesis import strategies as st

from lk_jupyter.localcloud.billing.ledger import CREDITS, DEBITS, Ledger
from lk_jupyter.localcloud.store import Store

ORGS = ("one", "two")
BILLIONTH = Decimal("1e-9")


class Books:
    """A ledger on disk that can be closed and opened again."""

    def __init__(self, path):
        self.path = path
        self.open()

    def open(self):
        self.store = Store(self.path)
        self.ledger = Ledger(self.store)

    def reopen(self):
        self.store.close()
        self.open()

    def credit(self, org, category, source, amount):
        with self.store.write() as db:
            return self.ledger.credit(db, org, category, source, amount)

    def charge(self, org, category, source, amount, **facts):
        with self.store.write() as db:
            self.ledger.charge(db, org, category, source, amount, **facts)

    def free_left(self, org):
        return sum(entry.free for entry in self.ledger.list_entries(org, 1000))


@pytest.fixture
def books(tmp_path):
    opened = Books(tmp_path / "cloud.sqlite")
    yield opened
    opened.store.close()


def test_a_source_is_booked_once_also_after_a_restart(books):
    for _ in range(2):
        books.ledger.grant("one", Decimal(10))
        books.charge("one", "executions", "run", Decimal("1.5"))
        books.charge("two", "executions", "run", Decimal("1.5"))
        books.reopen()
    assert books.ledger.read_standing("one").remaining == Decimal("8.5")
    assert books.ledger.read_standing("two").remaining == 0


def test_what_goes_on_is_billed_by_stretches(books):
    for since in (0.0, 10.5, 10.5, 20.25, 0.0):
        books.charge("one", "vms", "vm", Decimal(1), since=since, vm_id="vm")
    assert books.ledger.read_standing("one").booked == 3
    [group] = books.ledger.sum_groups("one", "vms", "vm_id")
    assert (group.value, group.count, group.credits) == ("vm", 3, 3)


def test_a_charge_is_kept_or_lost_with_the_state_that_it_belongs_to(books):
    def fail():
        with books.store.write() as db:
            books.store.put("vm", "1", {"status": "running"})
            books.ledger.charge(db, "one", "vms", "1", Decimal(1))
            raise sqlite3.OperationalError("disk full")

    with pytest.raises(sqlite3.OperationalError):
        fail()
    assert books.store.get("vm", "1") is None
    assert books.ledger.read_standing("one").booked == books.ledger.count_entries("one") == 0


def test_free_credits_are_used_before_bought_ones(books):
    books.credit("one", "purchases", "bought", Decimal(10))
    books.credit("one", "grants", "given", Decimal(5))
    books.charge("one", "executions", "1", Decimal(3))
    assert books.free_left("one") == 2
    books.charge("one", "executions", "2", Decimal(4))
    assert books.free_left("one") == 0
    books.credit("one", "vouchers", "late", Decimal(1))
    assert books.free_left("one") == 1
    assert [entry.free for entry in books.ledger.list_entries("one", 9)] == [1, -2, -3, 5, 0]


def test_a_debt_is_paid_from_free_credits_first(books):
    books.charge("one", "executions", "1", Decimal(3))
    books.credit("one", "grants", "given", Decimal(5))
    assert (books.free_left("one"), books.ledger.read_standing("one").remaining) == (2, 2)


def test_nothing_starts_when_nothing_is_left(books):
    books.ledger.grant("one", Decimal(1))
    books.ledger.require_credits("one")
    books.ledger.add_meter({"one": Decimal(1), "two": Decimal(0)}.__getitem__)
    with pytest.raises(HTTPException, match="402: Insufficient credits"):
        books.ledger.require_credits("one")


def test_the_entries_of_an_older_data_folder_are_kept(tmp_path):
    old = sqlite3.connect(tmp_path / "cloud.sqlite")
    old.execute("CREATE TABLE ledger (seq, org, time, reason, source, billionths)")
    rows = [(1, "one", 1.0, "grant", "one", 100 * 10**9), (2, "one", 2.0, "run", "r", -1_000_000_001)]
    old.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)", rows)
    old.commit()
    old.close()
    books = Books(tmp_path / "cloud.sqlite")
    for _ in range(2):
        books.ledger.grant("one", Decimal(100))
        books.charge("one", "executions", "r", Decimal(1))
        assert books.ledger.read_standing("one").remaining == Decimal("98.999999999")
        books.reopen()
    books.store.close()


def test_the_balance_never_rises_while_a_run_ends(books):
    """What runs is asked of a meter and what has ended of the ledger, at one moment."""
    books.ledger.grant("one", Decimal(100))
    books.ledger.add_meter(lambda _: Decimal(len(books.store.list_documents("run"))))
    seen, done = [], threading.Event()

    def watch():
        while not done.is_set():
            seen.append(books.ledger.read_standing("one").remaining)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(300):
        books.store.put("run", "r", {})
        with books.store.write() as db:
            books.store.take("run", "r")
            books.ledger.charge(db, "one", "executions", str(number), Decimal(1))
    done.set()
    watcher.join()
    assert len(seen) > 10
    assert all(later <= sooner for sooner, later in itertools.pairwise(seen))


amounts = st.decimals(min_value="0.000000001", max_value=10_000, places=9)
bookings = st.tuples(
    st.sampled_from(ORGS),
    st.sampled_from((*CREDITS, *DEBITS)),
    st.integers(0, 30).map(str),
    amounts,
    st.sampled_from(("gpu.a100", "gpu.h100")),
)
histories = st.lists(st.one_of(bookings, st.just("restart")), max_size=40)


def replay(books, history):
    """Book a history; return what should come of it: organization and amount by category and source."""
    expected = {}
    for step in history:
        if step == "restart":
            books.reopen()
            continue
        org, category, source, amount, card = step
        if category in CREDITS:
            assert books.credit(org, category, source, amount) == ((category, source) not in expected)
        else:
            books.charge(org, category, source, amount, hardware_profile=card)
        expected.setdefault((category, source), (org, amount if category in CREDITS else -amount))
    return expected


@settings(max_examples=60)  # it is money
@given(history=histories)
def test_all_views_agree_whatever_happened(tmp_path_factory, history):
    books = Books(tmp_path_factory.mktemp("books") / "cloud.sqlite")
    expected = replay(books, history)
    for org in ORGS:
        standing, entries = books.ledger.read_standing(org), books.ledger.list_entries(org, 1000)
        booked = {(entry.category, entry.source): entry.credits for entry in entries}
        assert booked == {key: amount for key, (owner, amount) in expected.items() if owner == org}
        assert standing.remaining == sum(booked.values())
        assert standing.credited == sum(amount for amount in booked.values() if amount > 0)
        groups = [row for category in DEBITS for row in books.ledger.sum_groups(org, category, "hardware_profile")]
        assert sum(group.credits for group in groups) == standing.used
        assert len(entries) == books.ledger.count_entries(org)
        assert books.free_left(org) >= 0
        assert standing.remaining >= 0 or books.free_left(org) == 0
    books.store.close()
