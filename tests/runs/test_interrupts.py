"""lk_jupyter.runs.interrupts."""

import threading

import pytest

from lk_jupyter.runs.interrupts import is_interrupt, true_interrupts


class InTheWrongMoment(threading.Condition):
    """Is interrupted when it takes its lock back."""

    def _acquire_restore(self, _):
        raise KeyboardInterrupt


def wait():
    condition = InTheWrongMoment(threading.Lock())
    with condition:
        condition.wait(0.01)


def test_an_interrupt_in_the_wrong_moment_of_a_wait_is_one():
    with pytest.raises(KeyboardInterrupt), true_interrupts():
        wait()
    with pytest.raises(RuntimeError) as without:
        wait()
    assert is_interrupt(without.value)
    assert is_interrupt(KeyboardInterrupt())


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="of another kind"), true_interrupts():
        raise RuntimeError("of another kind")
    assert not is_interrupt(RuntimeError())
    assert not is_interrupt(None)
