"""The table of runs as a widget."""

import pytest

from lk_jupyter import session
from lk_jupyter.widgets import Runs


@pytest.mark.usefixtures("signed_in")
def test_runs_are_listed_opened_compared_and_run_again():
    first = session.current().run("print('one')", timeout=60, name="<b>first</b>")
    second = session.current().run("print('two')", timeout=60, label=["night"])
    first.wait()
    second.wait()
    table = Runs()
    table.refresh()
    rows = {row["id"]: row for row in table.rows}
    assert rows[first.execution_id]["state"] == "✓ completed"
    assert "night" in rows[second.execution_id]["words"]
    assert {first.short_id, second.short_id} <= set(table.df.index)
    assert "&lt;b&gt;first" in table.picture().html
    table.look_at(first.execution_id)
    assert table.opened["title"] == first.short_id
    assert table.opened_run("refresh", {}) is None
    table.look_at("")
    assert table.opened == {}
    compared = table.compare(first.execution_id, second.execution_id)
    assert "-print('one')" in compared["code"]
    assert table.price_again(first.execution_id).startswith(
        "L40S at 1.19 credits/h, at most 0.0202 credits (time limit 60"
    )
    said = table.rerun(first.execution_id)
    again = session.current().get(said.rstrip(".").rpartition(" ")[2])
    assert again.result().stdout == "one\n"


@pytest.mark.usefixtures("signed_in")
def test_no_runs_are_told_in_words():
    table = Runs("no such words anywhere")
    table.refresh()
    assert "%%lk_run" in table.picture().text
