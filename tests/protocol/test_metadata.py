import pytest

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.protocol.metadata import PORTS_KEY, read_ports


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8888,8000", (8888, 8000)),
        ("8" * 30_000, ()),  # more digits than Python reads
        ("65535,65536,99999", (65535,)),
        ("\u0661\u0662,-1,x,,1e3", ()),
    ],
)
def test_only_numbers_of_ports_are_read_from_the_metadata_of_a_run(text, ports):
    assert read_ports({PORTS_KEY: text}) == ports


@pytest.mark.parametrize("size", ["9" * 5_000, "\u00b2"])
def test_the_name_of_a_machine_with_an_odd_size_has_no_memory(size):
    assert MachineType(hardware_profile=f"gpu.odd.{size}gb").memory_gib is None
