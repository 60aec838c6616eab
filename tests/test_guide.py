"""The guide: every notebook runs to its end, and shows what it is kept with."""

from __future__ import annotations

import inspect
import re

import books
import nbformat
import pytest

from lk_jupyter import widgets

PATHS = [pytest.param(path, id=path.stem) for path in books.paths()]


#: Of a hundred words that a notebook shows, so many may be others the next time, or so few where it shows
#: not many: the machine that was fastest, whether a run waited, ...
CHANCE, FEW = 5, 3


@pytest.mark.parametrize("path", PATHS)
def test_a_notebook_of_the_guide_shows_what_it_is_kept_with(path, make_cloud, tmp_path):
    cloud = make_cloud()
    kept = nbformat.read(path, as_version=4)
    book = books.execute(path, tmp_path, cloud.base_url, cloud.api_key)
    assert books.failures(book) == []
    assert books.shape(book) == books.shape(kept)
    words = books.words(kept)
    changed = words ^ books.words(book)
    assert len(changed) <= max(FEW, CHANCE * len(words) / 100), changed


@pytest.mark.parametrize("path", PATHS)
def test_the_guide_has_a_plain_text_twin_of_every_picture_and_table(path):
    book = nbformat.read(path, as_version=4)
    rich = [output.data for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    assert all(data.get("text/plain", "").strip() for data in rich if data.get("text/html", "x").strip())


@pytest.mark.parametrize("name", widgets.__all__)
def test_each_widget_has_a_docstring_and_a_chapter_with_its_picture(name):
    cells = nbformat.read(books.NOTEBOOKS / "widgets.ipynb", as_version=4).cells
    chapter = next(cell.source for cell in cells if cell.source.startswith(f"## {name}\n"))
    pictures = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", chapter)
    assert pictures
    assert all((books.NOTEBOOKS / picture).is_file() for picture in pictures)
    assert len(inspect.getdoc(getattr(widgets, name)).splitlines()) > 2
