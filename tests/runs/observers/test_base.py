"""What goes along with a run, and what it may not do: harm the run."""

from types import SimpleNamespace

from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.observers.base import ObserverGroup, RunObserver

#: A run whose output is complete.
RUN = SimpleNamespace(log_problem="")


class Talker(RunObserver):
    """Says the same at every occasion."""

    notices = (Notice("now"),)

    def started(self, run):
        self.run = run

    def tick(self, run, seconds, text):
        return [f"{seconds} s", text]

    def ended(self, run, record):
        return [Notice(record, WARNING)]


class Clumsy(RunObserver):
    """Fails at every occasion."""

    def started(self, run):
        raise OSError

    def tick(self, run, seconds, text):
        raise ValueError

    @property
    def notices(self):
        raise KeyError

    def ended(self, run, record):
        raise AttributeError


def test_a_company_says_what_each_of_its_companions_says_in_order():
    talker = Talker()
    company = ObserverGroup([RunObserver(), talker, talker])
    company.started(RUN)
    assert talker.run == RUN
    assert company.tick(RUN, 3, "text") == ["3 s", "text", "3 s", "text"]
    assert company.notices == [Notice("now")] * 2
    assert [str(remark) for remark in company.ended(RUN, "end")] == ["⚠ end", "⚠ end"]


def test_a_companion_that_fails_neither_ends_the_run_nor_silences_the_others():
    company = ObserverGroup([Clumsy(), Talker()])
    company.started(RUN)
    assert company.tick(RUN, None, "") == ["None s", ""]
    assert company.notices == [Notice("now")]
    *notices, incomplete = company.ended(RUN, "end")
    assert notices == [Notice("end", WARNING)]
    assert str(incomplete) == "⚠ A part of this receipt is missing. Clumsy: OSError."


def test_a_companion_is_called_only_for_what_it_handles(monkeypatch):
    called = []
    for event in ("started", "tick", "saw", "ended"):
        monkeypatch.setattr(RunObserver, event, lambda self, *facts, event=event: called.append(event))
    company = ObserverGroup([RunObserver(), Talker()])
    company.started(RUN)
    company.saw(Frame("other", {}, "1-1"))
    assert company.tick(RUN, 1, "") == ["1 s", ""]
    assert company.ended(RUN, "end") == [Notice("end", WARNING)]
    assert called == []


def test_a_number_is_not_joined_from_both_sides_of_text_that_was_left_out():
    observers = ObserverGroup()
    flood = "77\r" * 50_000 + "loss: 0.2\n"
    for text in (flood, flood[-(1 << 17) :]):  # the display of a run cuts a flood, too
        observers.tick(RUN, 1, "loss: 0.5\nloss: 0.4\nloss: 0.3")
        observers.tick(RUN, 2, text)
    observers.ended(RUN, "end")
    [curve] = observers.scalars.curves
    assert curve.values == [0.5, 0.4, 0.2, 0.5, 0.4, 0.2]
