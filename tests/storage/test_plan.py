"""What a transfer has to do, without disk or bucket."""

import ntpath
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._parts import MIB, PART, part_ranges, part_size, regroup_pieces
from lk_jupyter.storage._plan import PlanEntry, file_name, is_file_name, is_key, plan


def never(mine, other):
    raise AssertionError("asked")


def names(entries):
    return [entry.name for entry in entries]


def sides(source, target):
    return ({name: PlanEntry(name, *facts) for name, facts in side.items()} for side in (source, target))


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


ELSEWHERE = [
    "a\\b",
    "..\\x",
    "\\\\server\\share",
    "C:x",
    "C:\\x",
    "a:b",
    "a.",
    "a ",
    "CON",
    "nul.txt",
    "Aux .log",
    "COM1",
    "lpt9.x",
    "COM\u00b9",
    "CONIN$",
    "a\x01b",
    "a?",
]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_member_places_no_file_outside_of_the_folder_on_windows(name):
    assert not is_file_name(name, windows=True)
    assert not is_file_name(f"folder/{name}", windows=True)
    assert not is_file_name(f"{name}/file", windows=True)
    with pytest.raises(StorageError, match=r"can't be the name of a file here\. Nothing was downloaded"):
        file_name(f"folder/{name}", windows=True)


@pytest.mark.parametrize("key", ["..", "a/..", "a/../", ".", "", "/", "a\0"])
def test_a_key_names_no_other_folder(key):
    with pytest.raises(StorageError):
        file_name(key)


def test_ordinary_names_are_names_everywhere():
    for name in ("console.txt", "com10", "nullable", "a b.csv", ".hidden", "größe.npy", "a.tar.gz"):
        assert file_name(f"folder/{name}", windows=True) == file_name(name, windows=False) == name


def is_reserved(path):
    """Ask Python whether Windows keeps a name for itself."""
    return ntpath.isreserved(path) if hasattr(ntpath, "isreserved") else path.is_reserved()


NAMES = st.text(st.sampled_from("ab.:/\\ \0CONUL1$*?\n~") | st.characters(), max_size=12)


@given(NAMES)
def test_no_key_leads_out_of_a_folder(key):
    for windows, kind, folder in ((True, PureWindowsPath, "C:\\target"), (False, PurePosixPath, "/target")):
        if is_file_name(key, windows=windows):
            path = kind(folder) / key
            assert path.parts[: len(kind(folder).parts)] == kind(folder).parts
            assert len(path.parts) == len(kind(folder).parts) + key.count("/") + 1
            assert ".." not in path.parts
            assert not windows or not is_reserved(path)
        try:
            name = file_name(key, windows=windows)
        except StorageError:
            continue
        assert (kind(folder) / name).parent == kind(folder)


@pytest.mark.parametrize("name", ["\udcff", "a\\b"])
def test_names_that_are_no_text_are_no_keys(name):
    assert not is_key(name)


def test_parts_grow_so_that_their_number_fits():
    assert part_size(1) == part_size(PART * 10_000) == PART
    assert len(part_ranges(10**12, part_size(10**12))) <= 10_000


def test_ranges_cover_all_without_overlap():
    assert part_ranges(5, 2) == [(0, 2), (2, 4), (4, 5)]
    assert part_ranges(0, 2) == [(0, 0)]


@pytest.mark.parametrize("pieces", [[], [b""], [b"abc"], [b"ab", b"c" * 9, b"", b"d"], [b"x" * 10]])
def test_pieces_of_any_size_become_parts_of_one(pieces):
    parts = list(regroup_pieces(pieces, 5))
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(part) == 5 for part in parts[:-1])
    assert len(parts) >= 1
    assert MIB == 1 << 20
