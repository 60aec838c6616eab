"""A training keeps its state however it ends: a sample of ``python tests/ended.py --count 100``."""

import pytest
from ended import WAYS, end_trainings


@pytest.mark.nightly
def test_a_training_that_ends_at_a_random_moment_keeps_the_last_step_in_its_log(kernel, cloud):
    endings = list(end_trainings(kernel, len(WAYS), seed=7))
    assert [ending.way for ending in endings if not ending.is_complete] == []
    assert list(cloud.client.workloads.list()) == []
