"""The picture of the curves of several runs."""

import re
from base64 import b64decode
from types import SimpleNamespace
from xml.etree import ElementTree as ET

from lk_jupyter.magics._output.fanout import merge_notices
from lk_jupyter.magics._output.leaderboard import DrawnRun, _format_run_label, curves_picture
from lk_jupyter.text.scalars import Curve

KEY = "lk_" + "3fA9" * 8


def drawn(html: str) -> str:
    [content] = re.findall(r"base64,([^\"]+)", html)
    return b64decode(content).decode()


def test_a_picture_contains_no_secret():
    plan = SimpleNamespace(number=1, values={"key": KEY}, machine="cpu")
    label = _format_run_label(SimpleNamespace(plan=plan))
    html = curves_picture([KEY], [DrawnRun(1, label, {KEY: Curve(KEY, [1, 2, 3], [3, 2, 1])})])
    assert KEY[:8] not in html
    assert KEY[:8] not in drawn(html)


def test_a_picture_is_valid_with_control_characters_in_a_name():
    name = "lo\x1bss\x00"
    ET.fromstring(drawn(curves_picture([name], [DrawnRun(1, "1", {name: Curve(name, [1, 2], [2, 1])})])))


def test_the_notes_below_a_table_name_no_variable_of_a_single_run():
    notices = ["Set here: best (12 B) · Written here: model.json", "Set here: epoch", "GPU memory was low."]
    assert merge_notices({1: notices, 2: notices[:2]}) == ["Written here: model.json", "GPU memory was low. (run 1)"]
