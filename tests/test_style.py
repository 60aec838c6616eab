"""Our style sheets take colours from Lab's theme and spacing from one scale."""

import re
from pathlib import Path

import pytest

SHEETS = sorted((Path(__file__).parents[1] / "labextension" / "style").glob("*.css"))
#: One declaration: its property and its value.
DECLARATION = re.compile(r"([\w-]+):\s*([^;{}]+);")
NAMED = r"\b(?:white|black|red|green|blue|gr[ae]y)\b"
COLOUR = re.compile(rf"#[0-9a-f]{{3,8}}\b|\b(?:rgba?|hsla?|light-dark)\(|{NAMED}", re.IGNORECASE)
#: What a theme has no say in: a QR code is dark on white for the camera.
FREE = {("background", "#fff")}
SPACING = re.compile(r"(?:margin|padding|gap|row-gap|column-gap)(?:-\w+)*")
SCALE = {"0", "auto", "4px", "8px", "12px", "16px", "-4px", "-8px", "-12px", "-16px"}


def own_values(value: str) -> str:
    """Return a value without what a theme gives, and what stands where it gives nothing."""
    before = None
    while value != before:
        before, value = value, re.sub(r"(?:var|calc)\((?:[^()]|\([^()]*\))*\)", "0", value)
    return value


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_colours_come_from_the_theme_and_spacing_from_the_scale(sheet):
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
    found = [(name, " ".join(value.split())) for name, value in DECLARATION.findall(text)]
    assert "var(" in text or not found
    own = [(name, value) for name, value in found if not name.startswith("--lk-")]
    assert [one for one in own if COLOUR.search(own_values(one[1])) and one not in FREE] == []
    spaced = [(name, value) for name, value in own if SPACING.fullmatch(name)]
    assert [one for one in spaced if not set(own_values(one[1]).split()) <= SCALE] == []
