"""lk_jupyter.views.bars: bars that are active together."""

from lk_jupyter.views.bars import ROWS, Rows, parse_bar


def test_of_many_bars_the_newest_are_shown_and_the_others_counted():
    payload = {"n": 1, "total": 2, "state": "active"}
    names = [f"<{number}>" for number in range(ROWS + 2)]
    rows = Rows([parse_bar({**payload, "label": name, "text": name}) for name in names])
    for kind, shown in rows.bundle().items():
        assert "… 2 bars before" in shown
        assert "<1>" not in shown
        assert ("&lt;2&gt;" if kind == "text/html" else "<2>") in shown
