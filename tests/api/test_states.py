"""Words for the state of a run, as services write them."""

import pytest

from lk_jupyter.api.states import canonical, is_final, is_known, state_label


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("completed", "complete Done ended exited Finished ok SUCCEEDED successful"),
        ("failed", "crashed Errored failure oom-killed OOMKilled"),
        ("cancelled", "canceled preempted evicted STOPPED terminated"),
        ("aborted", "abort Killed"),
        ("timeout", "deadline_exceeded Expired time_out timed-out timedout"),
        ("system_failure", "internal-error lost node_failure system_error"),
    ],
)
def test_the_word_of_another_service_ends_a_run_by_itself(state, words):
    for word in words.split():
        assert (canonical(word), is_final(word)) == (state, True), word


@pytest.mark.parametrize("word", ["Pending", "queued", "RUNNING", "waiting for docker container", "cancelling"])
def test_a_run_at_work_has_not_ended(word):
    assert (is_known(word), is_final(word)) == (True, False)


@pytest.mark.parametrize("word", ["zorp", "", " "])
def test_a_word_that_nobody_knows_says_nothing(word):
    assert (is_known(word), is_final(word)) == (False, False)


def test_the_stopped_machine_of_a_session_is_released_and_another_stopped_run_is_cancelled():
    assert state_label("cancelled", "session train") == "■ released"
    assert state_label("cancelled", "session kernel-353ccd1d77a53e53") == "■ released"
    assert state_label("cancelled", "train") == state_label("cancelled", None) == "■ cancelled"
    assert state_label("failed", "session train") == "✗ failed"
