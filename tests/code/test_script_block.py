"""Script blocks (PEP 723): found as the reference expression finds them, and refused with line and fix."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.code.script_block import _find_blocks, format_block, read_block
from lk_jupyter.errors import UsageError

#: The expression of the specification.
REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

BLOCK = """# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy", "torch>=2.1; sys_platform == 'linux'"]
#
# [tool.lk]
# gpu = "A100"
# timeout = "2h"
# max-cost = 1.5
# ///
print(1)
"""


def test_packages_python_machine_and_limits_are_read():
    block = read_block(BLOCK)
    assert block.dependencies == ("numpy", 'torch>=2.1; sys_platform == "linux"')
    assert block.requires_python == ">=3.9"
    assert {name: str(value) for name, value in block.options.items()} == {
        "gpu": "A100",
        "timeout": "7200",
        "max_cost": "1.5",
    }


LINES = ["# /// script", "# /// other", "# ///", "#", "# a = 1", "#b", "x = 1", "", "# /// script ", " # ///", "#  c"]


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_blocks_are_found_where_the_reference_expression_finds_them(lines):
    code = "\n".join(lines)
    expected = [(match["type"], match["content"]) for match in REFERENCE.finditer(code)]
    try:
        blocks = [(kind, lines[start + 1 : end]) for kind, start, end in _find_blocks(lines, 1, "the cell")]
    except UsageError:
        starts = re.findall("^# /// script$", code, re.MULTILINE)
        assert len(starts) > len([kind for kind, _ in expected if kind == "script"])
        return
    blocks = [(kind, "\n".join([*content, ""])) for kind, content in blocks if content]  # it finds no empty block
    assert blocks == expected


def test_lines_end_as_on_windows_and_other_blocks_are_left_alone():
    block = read_block("# /// tests\n# x = [\n# ///\n\n" + BLOCK.replace("\n", "\r\n"))
    assert block.requires_python == ">=3.9"
    assert read_block("# /// tests\n# dependencies = [\n# ///\n") is None
    assert read_block("print('# /// script')") is None


def test_a_text_that_starts_like_a_block_is_no_block():
    for prefix in ("", "f"):
        assert read_block(f"book = {prefix}'''\n# /// script\n# dependencies = []\n'''\n") is None


def block_of(*lines):
    return "\n".join(["x = 1", "# /// script", *(f"# {line}" for line in lines), "# ///"])


MALFORMED = {
    block_of("dependencies = ["): (r"line 1[3-5]: .*", "Correct the TOML"),
    block_of("a = 1", "a = 2"): (r"line 14: .*'a = 2'", "Correct the TOML"),
    "x = 1\n# /// script\n# dependencies = []\n": ("line 12: the '# /// script' block has no end", "Add the line"),
    "# /// script\n#dependencies = []\n# ///": ("line 12: '#dependencies = .*' has no space", "Put a space"),
    block_of() + "\n" + block_of(): ("line 15: this is a second", "Delete this block"),
    block_of("dependencies = 'numpy'"): ("line 13: 'dependencies' isn't a list", r'dependencies = \["numpy"\]'),
    block_of("dependencies = [", "  'num py',", "]"): ("line 14: 'num py' isn't a package", "name>=1.2"),
    block_of("dependencies = ['a @ https://packages.test/${HF_TOKEN}/a.whl']"): (
        "line 13: 'a @ https://packages.test/.*' contains an environment variable",
        "Write the address without variables",
    ),
    block_of("dependencies = ['a @ file:///etc/passwd']"): ("line 13: '.*' is a file that isn't in the run", "Publish"),
    block_of(r'"\u001b[31m\ndependencies" = 1'): (r"line 12: unknown field '\\x1b\[31m", "Write 'dependencies'"),
    block_of("[tool.lk]", r'"\n" = 1'): (r"\[tool.lk\] doesn't support the key '\\n'", "Keys: gpu"),
    block_of(r'dependencies = ["a==1\n--extra-index-url=https://packages.test"]'): ("isn't a package", "name>=1.2"),
    block_of(r'dependencies = ["a @ https://packages.test/\u202e/a"]'): ("isn't a package", "name>=1.2"),
    block_of("dependencies = [1]"): ("'1' isn't a package", "name>=1.2"),
    block_of("requires-python = '3.11'"): ("line 13: '3.11' isn't a Python version range", ">=3.11"),
    block_of("requires-python = 3.11"): ("line 13: '3.11' isn't a Python version range", ">=3.11"),
    block_of("dependancies = []"): ("line 13: unknown field 'dependancies'", "Write 'dependencies'"),
    block_of("tool = 1"): ("line 13: 'tool' isn't a table", r"\[tool.tool\]"),
    block_of("[tool.lk]", "time-out = 3"): (
        r"line 14: \[tool.lk\] doesn't support the key 'time-out'",
        "Did you mean 'timeout'",
    ),
    block_of("[tool.lk]", "shell = 'rm -r'"): (r"line 14: \[tool.lk\] doesn't support the key 'shell'", "Keys: gpu"),
    block_of("[tool.lk]", "timeout = '2 moons'"): ("line 14: --timeout .*got '2 moons'", "Correct the value"),
    block_of("[tool.lk]", "max-cost = -1"): ("line 14: --max-cost .*got '-1'", "Correct the value"),
    block_of("[tool.lk]", "max-cost = nan"): ("line 14: --max-cost .*got 'nan'", "Correct the value"),
    block_of("[tool.lk]", "max-cost = true"): ("line 14: 'max-cost' can't be 'True'", "Write one value"),
    block_of("[tool.lk]", "gpu = 'A100,H100'"): ("line 14: 'gpu' can't be 'A100,H100'", "Write one value"),
    block_of("[tool.lk]", "gpu = 'A100'", "machine = 'cpu'"): ("both 'gpu' and 'machine'", "Delete one"),
    block_of("dependencies = ['mine']", "[tool.uv.sources]", "mine = { path = '../mine' }"): (
        r"line 15: a run can't use the source of 'mine'",
        "Add the source to dependencies",
    ),
    block_of("x = " + "[" * 20_000): ("line 1[2-4]: ", "Correct the TOML"),
    block_of(*["x"] * 60_000): ("the block has .* characters", "Shorten it"),
}


@pytest.mark.parametrize(("code", "problem"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_a_malformed_block_is_refused_with_line_and_fix(code, problem):
    with pytest.raises(UsageError) as error:
        read_block(code, first_line=11)
    what, fix = problem
    message = str(error.value)
    assert re.search(what, message), message
    assert re.search(rf"Nothing was sent\. .*{fix}", message), message
    assert len(message) < 500
    assert message.isprintable()


def test_uvs_choice_of_an_index_leaves_the_package_to_the_runs_index():
    block = read_block(block_of("dependencies = ['torch']", "[tool.uv.sources]", "torch = { index = 'pytorch' }"))
    assert block.dependencies == ("torch",)


def test_a_written_block_reads_back_with_the_tables_of_the_earlier_block():
    text = format_block(["numpy==2.1.0", "torch==2.6.0"], ["mine"], read_block(BLOCK).tables)
    block = read_block(text)
    assert block.dependencies == ("numpy==2.1.0", "torch==2.6.0")
    assert block.options == read_block(BLOCK).options
    assert "import mine" in text
    assert len(REFERENCE.findall(text)) == 1
