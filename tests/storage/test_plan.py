"""What a transfer has to do, without disk or bucket."""

import pytest

from lk_jupyter.storage._parts import MIB, PART, part_size, ranges, regrouped
from lk_jupyter.storage._plan import Entry, is_file_name, is_key, plan


def never(mine, other):
    raise AssertionError("asked")


def names(entries):
    return [entry.name for entry in entries]


def sides(source, target):
    return ({name: Entry(name, *facts) for name, facts in side.items()} for side in (source, target))


def test_new_and_resized_files_are_copied_and_extra_ones_named():
    source, target = sides(
        {"new": (1, 5), "size": (2, 5), "same": (3, 5)}, {"size": (1, 9), "same": (3, 9), "x": (1, 1)}
    )
    found = plan(source, target, is_equal=never)
    assert (names(found.copy), found.same, names(found.extra), found.size) == (["new", "size"], 1, ["x"], 3)


@pytest.mark.parametrize(("equal", "copied"), [(True, []), (False, ["a"]), (None, ["a"])])
def test_a_newer_file_is_decided_by_its_content_and_copied_in_doubt(equal, copied):
    source, target = sides({"a": (1, 50)}, {"a": (1, 5)})
    assert names(plan(source, target, is_equal=lambda *_: equal).copy) == copied


def test_with_checksum_time_says_nothing():
    source, target = sides({"a": (1, 5)}, {"a": (1, 50)})
    assert names(plan(source, target, is_equal=lambda *_: False, checksum=True).copy) == ["a"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "", "a//b", "./a", "a\0b"])
def test_a_key_does_not_lead_out_of_the_folder(name):
    assert not is_file_name(name)


@pytest.mark.parametrize("name", ["\udcff", "a\\b"])
def test_names_that_are_no_text_are_no_keys(name):
    assert not is_key(name)


def test_parts_grow_so_that_their_number_fits():
    assert part_size(1) == part_size(PART * 10_000) == PART
    assert len(ranges(10**12, part_size(10**12))) <= 10_000


def test_ranges_cover_all_without_overlap():
    assert ranges(5, 2) == [(0, 2), (2, 4), (4, 5)]
    assert ranges(0, 2) == [(0, 0)]


@pytest.mark.parametrize("pieces", [[], [b""], [b"abc"], [b"ab", b"c" * 9, b"", b"d"], [b"x" * 10]])
def test_pieces_of_any_size_become_parts_of_one(pieces):
    parts = list(regrouped(pieces, 5))
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(part) == 5 for part in parts[:-1])
    assert len(parts) >= 1
    assert MIB == 1 << 20
