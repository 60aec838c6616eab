"""The cookbook: each page runs to its end with real packages, and shows what it is for, its price and its real size."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import books
import cookbook
import nbformat
import pytest
from PIL import Image

from lk_jupyter.localcloud.billing.catalogue import GPUS

PAGES = [pytest.param(page, id=page.stem) for page in cookbook.PAGES]

#: Hours, price in credits per hour, and cost, as the pages multiply them.
ESTIMATE = re.compile(r"([\d.]+) hours? \S ([\d.]+) credits = ([\d.]+) credits")
PRICES = [float(price) for price, _ in GPUS.values()]


def source(page, kind):
    return [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == kind]


@pytest.mark.nightly
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("cookbook")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_cookbook_runs_to_its_end(page):
    executed = cookbook.execute([page.stem])
    assert executed.returncode == 0, executed.stdout + executed.stderr


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_price_before_it_spends_and_states_its_real_size(page):
    code = source(page, "code")
    spending = [number for number, cell in enumerate(code) if re.match(r"%%lk_run|%lk_deploy|%lk_embed|executor", cell)]
    price = next(
        number
        for number, cell in enumerate(code)
        if "--dry-run" in cell or "%lk_models" in cell or "price_label" in cell
    )
    assert price <= min(spending)
    last = source(page, "markdown")[-1]
    assert last.startswith("## At real size")
    for hours, hourly, total in ESTIMATE.findall(last):
        assert float(hourly) in PRICES
        assert float(total) == pytest.approx(float(hours) * float(hourly), abs=0.006)
    assert ESTIMATE.search(last)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_stored_with_outputs_whose_curve_has_data_and_no_path_of_a_machine(page):
    cells = [cell for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = "".join(str(cell.outputs) for cell in cells)
    assert [folder for folder in (Path.home(), cookbook.ROOT) if str(folder) in outputs] == []
    pictures = [
        output.data["image/png"] for cell in cells for output in cell.outputs if "image/png" in output.get("data", ())
    ]
    assert pictures
    for picture in pictures:
        assert _colored_pixels(picture) > COLORED_PIXELS


#: Pixels of a curve, at least: an empty figure has only gray ones.
COLORED_PIXELS = 50


def _colored_pixels(picture):
    saturation = Image.open(io.BytesIO(base64.b64decode(picture))).convert("HSV").getchannel("S")
    return sum(saturation.histogram()[64:])


def test_the_index_of_the_cookbook_links_every_page():
    index = (books.COOKBOOK / "index.md").read_text("utf-8")
    assert set(re.findall(r"\]\(([\w-]+)\.ipynb\)", index)) == {page.stem for page in cookbook.PAGES}
