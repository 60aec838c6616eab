"""A run logs exact numbers, and the notebook reads them with the printed ones."""

from __future__ import annotations

import builtins
import struct
import threading
import time
from contextlib import closing

import pytest
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.remote.script import scalars
from lk_jupyter.remote.script.scalars import iterate_scalars

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def session(cloud):
    with closing(lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key)) as connected:
        yield connected


def varint(number):
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def field(number, kind, content):
    return varint(number << 3 | kind) + (varint(len(content)) if kind == 2 else b"") + content


def event(step, name, value):
    """Return an event as TensorBoard writes it."""
    entry = field(1, 2, name.encode()) + value
    return field(1, 1, struct.pack("<d", 1e9 + step)) + varint(2 << 3) + varint(step) + field(5, 2, field(1, 2, entry))


SIMPLE = field(2, 5, struct.pack("<f", 0.5))
TENSOR = field(8, 2, varint(1 << 3) + varint(1) + field(4, 2, struct.pack("<f", 0.25)))


@pytest.mark.parametrize(("value", "number"), [(SIMPLE, 0.5), (TENSOR, 0.25)])
def test_a_scalar_of_tensorboard_is_read_in_both_forms(value, number):
    assert list(iterate_scalars(event(300, "train/loss", value))) == [("train/loss", 300.0, number, 1e9 + 300)]


def test_two_threads_that_send_at_the_same_time_send_each_number_once(monkeypatch):
    sent = []

    def send_from_another_thread(_kind, payload):
        is_first = not sent
        sent.extend(payload["points"])
        if is_first:
            scalars._add_point("loss", 2, 0.25, 0.0)
            scalars._send_points()

    monkeypatch.setattr(scalars, "_points", [["loss", 1, 0.5, 0.0]])
    monkeypatch.setattr(scalars.driver, "frame", send_from_another_thread)
    scalars._send_points()
    assert [value for _, _, value, _ in sent] == [0.5, 0.25]


def test_the_end_of_the_code_waits_for_the_thread_that_reads_events(monkeypatch):
    steps, is_reading = [], threading.Event()

    def read_slowly(_top):
        steps.append("begin")
        is_reading.set()
        time.sleep(0.1)
        steps.append("end")

    monkeypatch.setattr(scalars, "_read_events", read_slowly)
    monkeypatch.setattr(scalars, "SEARCH_PACE", 0.01)
    monkeypatch.setattr(builtins, "lk_log", None, raising=False)
    scalars.before({"events": True}, {})
    assert is_reading.wait(PATIENCE)
    scalars.after({"events": True}, {}, None)
    assert steps == ["begin", "end"] * (len(steps) // 2)


def test_an_event_without_a_scalar_gives_nothing():
    histogram = event(1, "weights", field(5, 2, b"\x01\x02"))
    assert list(iterate_scalars(histogram)) == []


CODE = f"""
import pathlib, struct
for step in range(1, 5):
    print(f'epoch {{step}}/4 loss: {{1 / step:.2f}}')
    lk_log(step=step, loss=1 / step, val_acc=step / 8)
events = {[event(step, "epoch_loss", field(2, 5, struct.pack("<f", step / 2))) for step in (1, 2, 3)]!r}
folder = pathlib.Path('logs', 'validation')
folder.mkdir(parents=True)
records = [struct.pack('<Q', len(one)) + bytes(4) + one + bytes(4) for one in events]
(folder / 'events.out.tfevents.1.x').write_bytes(b''.join(records) + b'cut')  # as SummaryWriter does
"""


def test_exact_numbers_replace_printed_ones_and_event_files_are_read_in_the_run(session):
    run = session.run(CODE, gpu="A100")
    assert run.wait(PATIENCE).return_code == 0
    assert run.result().stdout == "".join(f"epoch {n}/4 loss: {1 / n:.2f}\n" for n in range(1, 5))
    frame = run.scalars()
    assert list(frame.columns) == ["step", "name", "value", "time"]
    assert frame[frame.name == "loss"].value.to_list() == [1 / step for step in range(1, 5)]
    assert frame[frame.name == "val_acc"].step.to_list() == [1, 2, 3, 4]
    assert frame[frame.name == "validation/epoch_loss"].value.to_list() == [0.5, 1, 1.5]
    assert str(frame.time.dtype).endswith("UTC]")
    assert frame.time.notna().all()


def test_a_value_that_is_no_number_fails_with_its_name(session):
    run = session.run("lk_log(loss='low')", gpu="A100")
    assert "lk_log: loss='low' isn't a number." in run.wait(PATIENCE).stderr


def test_printed_numbers_have_the_times_of_their_lines(session):
    run = session.run("for n in range(3): print('loss', 0.5 + n)", gpu="A100")
    run.wait(PATIENCE)
    frame = run.scalars()
    assert frame.value.to_list() == [0.5, 1.5, 2.5]
    assert frame.time.notna().all()
