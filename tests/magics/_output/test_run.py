"""lk_jupyter.magics._output.run: the receipt of a run."""

from datetime import datetime, timedelta, timezone

import pytest

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.magics._output.run import receipt


@pytest.mark.parametrize(("waited", "took"), [(2, "10.0 s"), (90, "waited 1 min 30 s, ran 10.0 s")])
def test_a_receipt_says_how_long_the_run_waited_where_that_was_long(waited, took):
    created = datetime(2026, 11, 29, tzinfo=timezone.utc)
    start = created + timedelta(seconds=waited)
    record = ExecutionRecord(
        execution_id="x",
        status="completed",
        created_at=created,
        start_time=start,
        end_time=start + timedelta(seconds=10),
    )
    assert receipt(record, None).facts[:1] == [took]
