"""Each state of what one sees, on one page without Lab: as it looked when somebody looked at it, and whole."""

import os
import re
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from matplotlib import get_data_path
from PIL import Image, ImageChops, ImageFilter
from playwright.sync_api import TimeoutError, expect  # noqa: A004

from ui.notebook import SCREENS, picture

SOURCES = Path(__file__).parents[2] / "labextension"
BUILT = SOURCES / "lib" / "gallery"
THEMES = Path(sys.prefix, "share", "jupyter", "lab", "themes", "@jupyterlab")
#: Pictures that somebody looked at; LK_PICTURES=renew makes them anew.
KEPT = Path(__file__).parent / "gallery"
#: The difference of two colours from 0 to 255 that one sees, and the part of a picture that may differ so.
CLEARLY, TOLERANCE = 32, 0.003
#: What a plot says of itself once it is drawn.
DRAWN = re.compile("last|no samples")
#: The rules of axe that another theme may break.
COLOURS = ("color-contrast", "link-in-text-block")
RENEW = os.environ.get("LK_PICTURES") == "renew"

SCENES = (
    *("header", "run-view", "active", "active-none", "runs", "chat", "chat-empty"),
    *("panel", "panel-signed-out", "panel-empty", "panel-one", "panel-many", "panel-unreachable", "panel-rented"),
    *("leaderboard", "leaderboard-narrow"),
    *("picker", "picker-none", "picker-narrow", "metrics", "metrics-compared", "metrics-empty"),
    *("storage", "storage-empty", "storage-uploads", "storage-previews"),
)
#: The fonts of matplotlib, which are the same everywhere.
FONTS = "".join(
    f"@font-face {{ font-family: {family}; font-weight: {weight}; "
    f"src: url(file://{get_data_path()}/fonts/ttf/{file}.ttf) }}"
    for family, weight, file in (
        ("plain", 400, "DejaVuSans"),
        ("plain", 600, "DejaVuSans-Bold"),
        ("code", 400, "DejaVuSansMono"),
    )
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Gallery</title>
<link rel="stylesheet" href="file://{theme}"><link rel="stylesheet" href="file://{built}/index.css">
<link rel="stylesheet" href="file://{built}/panel.css">
<style>
{fonts}
:root {{ --jp-ui-font-family: plain !important; --jp-content-font-family: plain !important;
  --jp-code-font-family: code !important }}
body {{ background: var(--jp-layout-color1); margin: 0; font-family: plain }}
* {{ caret-color: transparent !important }}
main > section {{ padding: 16px; box-sizing: border-box; max-width: 900px }}
</style>
<body data-jp-theme-light="{light}"><main></main><script src="file://{built}/gallery.js"></script></body></html>"""

WHOLE = """() => {
    const found = [];
    const wide = document.documentElement.scrollWidth;
    if (wide > innerWidth) found.push(`the page is ${wide} wide of ${innerWidth}`);
    const scrolls = node => ['auto', 'scroll'].includes(getComputedStyle(node).overflowX);
    for (const node of document.querySelectorAll('main *')) {
        const { overflowX, textOverflow } = getComputedStyle(node);
        const isCut = overflowX === 'hidden' && textOverflow !== 'ellipsis' && node.scrollWidth > node.clientWidth + 1;
        if (isCut && node.clientWidth > 1) found.push(`cut off: ${node.outerHTML.slice(0, 200)}`);
        if (node.matches('button, input, select, textarea, b, strong')) {
            const { left, right, width } = node.getBoundingClientRect();
            let around = node.parentElement;
            while (around && !scrolls(around)) around = around.parentElement;
            const isOut = !around && width && (left < 0 || right > innerWidth);
            if (isOut) found.push(`outside: ${node.outerHTML.slice(0, 200)}`);
        }
    }
    return found;
}"""
MOVES = """() => [
    ...document.getAnimations().map(one => `an animation of ${one.effect.target.outerHTML.slice(0, 200)}`),
    ...[...document.querySelectorAll('main *')]
        .filter(node => parseFloat(getComputedStyle(node).transitionDuration) > 0.001)
        .map(node => `a transition of ${node.outerHTML.slice(0, 200)}`),
]"""


@pytest.fixture
def gallery(page, tmp_path):
    """A function that opens the gallery in a theme, as wide as asked."""

    def opened(theme="light", width=1000):
        css = THEMES / f"theme-{theme}-extension" / "index.css"
        html = PAGE.format(theme=css, built=BUILT, fonts=FONTS, light="true" if theme == "light" else "false")
        (tmp_path / f"{theme}.html").write_text(html, "utf-8")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"file://{tmp_path}/{theme}.html")
        expect(page.locator("main > section")).to_have_count(len(SCENES))
        page.evaluate("document.fonts.ready")
        for plot in page.get_by_role("img").all():
            expect(plot).to_have_attribute("aria-label", DRAWN)
        return page

    return opened


@pytest.mark.timeout(900)
@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.nightly)])
def test_each_state_looks_as_somebody_saw_it(gallery, accessible, theme):
    page = gallery(theme)
    accessible(page, *([] if theme == "light" else COLOURS))
    # Look at what differs below .out/screens. If it should look so: LK_PICTURES=renew, and look at tests/ui/gallery.
    differ = [name for name in SCENES if not _looks_alike(page.locator(f"#{name}").screenshot(), f"{name}-{theme}")]
    assert not differ


def _looks_alike(seen, name):
    """Whether a picture is like the kept one but for the edges of letters, which differ between machines."""
    shown = _halved(Image.open(BytesIO(seen)))
    SCREENS.mkdir(parents=True, exist_ok=True)
    shown.save(SCREENS / f"gallery-{name}.png")
    file = KEPT / f"{name}.png"
    if RENEW:
        KEPT.mkdir(exist_ok=True)
        shown.quantize(dither=Image.Dither.NONE).save(file, optimize=True)
    return file.exists() and _share_of_difference(shown, Image.open(file).convert("RGB")) < TOLERANCE


def _halved(whole):
    return whole.convert("RGB").reduce(2)


def _share_of_difference(one, other):
    """Return which part of two pictures is clearly of another brightness or colour; all of it where sizes differ."""
    if max(abs(a - b) for a, b in zip(one.size, other.size, strict=True)) > 2:
        return 1.0
    box = (0, 0, *map(min, one.size, other.size))
    soft = [each.crop(box).filter(ImageFilter.GaussianBlur(1)) for each in (one, other)]
    red, green, blue = ImageChops.difference(*soft).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return sum(most.histogram()[CLEARLY:]) / (box[2] * box[3])


def test_pictures_that_differ_by_a_row_or_by_the_colour_of_a_sign_are_not_alike():
    kept = Image.open(KEPT / "header-light.png").convert("RGB")
    moved = ImageChops.offset(kept, 0, 4)
    assert _share_of_difference(kept, moved) > TOLERANCE
    bar = kept.copy()
    bar.paste((255, 0, 0), (8, 12, 12, 90))
    assert _share_of_difference(kept, bar) > TOLERANCE
    assert _share_of_difference(kept, kept.copy()) == 0


#: Wait for a moment at which the headers in view change, all of them and no other; return their numbers.
TOGETHER = """() => new Promise(done => {
    const headers = [...document.querySelectorAll('.lk-run-header')];
    const isInView = ({ top, bottom }) => bottom >= 0 && top <= innerHeight;
    const inView = headers.filter(header => isInView(header.getBoundingClientRect()));
    const watched = new MutationObserver(changes => {
        const changed = new Set(changes.map(({ target }) => headers.find(header => header.contains(target))));
        if (changed.size === inView.length && inView.every(header => changed.has(header))) {
            watched.disconnect();
            done(inView.map(header => headers.indexOf(header)));
        }
    });
    watched.observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true });
})"""


@pytest.mark.timeout(900)
def test_headers_in_view_change_at_one_moment_and_the_others_rest(gallery):
    page = gallery()
    page.goto(f"{page.url}#headers=50")
    page.reload()
    expect(page.locator(".lk-run-header")).to_have_count(50)
    for shown in (0, 49):
        page.locator(".lk-run-header").nth(shown).scroll_into_view_if_needed()
        in_view = page.evaluate(TOGETHER)
        assert shown in in_view
        assert len(in_view) < 50


def _finds_nothing(page, script):
    """Fail with what a script finds once the page has settled: plots follow their width a moment later."""
    with suppress(TimeoutError):
        page.wait_for_function(f"() => !({script})().length", timeout=60_000)
    assert page.evaluate(script) == []


#: The facts of a header and of a rented machine that a reader doesn't see completely.
CUT_FACTS = """() => [...document.querySelectorAll('.lk-run-header-facts, .lk-item-facts')]
    .filter(facts => facts.scrollWidth > facts.clientWidth + 1)
    .map(facts => facts.textContent)"""


@pytest.mark.timeout(900)
def test_facts_of_a_session_and_the_cost_of_a_vm_are_shown_completely_at_each_width(gallery):
    page = gallery()
    expect(page.locator("#header")).to_contain_text("≈ 0.0009 credits so far")
    expect(page.locator("#panel-rented")).to_contain_text("1.24 credits")
    expect(page.locator("#panel dt:text-is('Balance') + dd")).to_have_text("41.20 credits")
    for width in (1000, 640, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(CUT_FACTS) == [], width


#: Bars that have the color of the page around them, by class; an empty one is none.
FLAT = """() => [...document.querySelectorAll('.lk-bar, .lk-meter > span, .lk-run-header-limit > div')]
    .filter(bar => bar.getBoundingClientRect().width)
    .filter(bar => getComputedStyle(bar).backgroundColor === getComputedStyle(document.body).backgroundColor)
    .map(bar => bar.parentElement.className)"""


@pytest.mark.timeout(900)
def test_nothing_is_cut_off_moves_or_is_told_by_colour_only(gallery, accessible):
    page = gallery(width=1280 // 2)  # at 200 %
    page.emulate_media(reduced_motion="reduce")
    _finds_nothing(page, WHOLE)
    _finds_nothing(page, MOVES)
    picture(page, "gallery-at-200-percent", full_page=True)
    page.set_viewport_size({"width": 1024, "height": 900})
    _finds_nothing(page, WHOLE)
    page.locator("#metrics").get_by_role("img").first.hover()
    expect(page.locator("#metrics .lk-plot-tip").first).to_contain_text(
        re.compile(r"\d min.*GPU utilization.*%GPU memory")
    )
    picture(page, "gallery-1024", full_page=True)
    page.emulate_media(reduced_motion="reduce", forced_colors="active")
    _finds_nothing(page, WHOLE)
    for header in page.locator(".lk-run-header").all():
        assert header.get_by_role("status").inner_text()
        assert header.locator(".lk-run-header-sign svg").bounding_box()["width"] == 16
    assert page.evaluate(FLAT) == []
    picture(page, "gallery-forced-colors", full_page=True)
    page.emulate_media(forced_colors="none")
    gallery("dark-high-contrast", width=1024)
    accessible(page, *COLOURS)
    picture(page, "gallery-high-contrast", full_page=True)


#: The controls of each view, by number; which are reached by arrows from another; what two of a view are named alike.
CONTROLS = """() => {
    const all = [...document.querySelectorAll('main :is(button, input, select, textarea, a[href], [tabindex])')];
    const shown = all.filter(node => !node.disabled && node.checkVisibility());
    shown.forEach((node, at) => { node.dataset.control = at; });
    const groups = '[role=list], [role=tree], [role=grid], [role=tablist], [role=radiogroup], ul, fieldset';
    const names = new Map();
    const twice = [];
    for (const node of shown.filter(node => node.matches('button, a'))) {
        const view = node.closest('section[aria-label], [role=region]');
        const words = node.getAttribute('aria-label') || node.innerText.trim();
        const known = names.get(view) ?? names.set(view, new Set()).get(view);
        if (!words || known.has(words)) twice.push(node.outerHTML.slice(0, 200));
        known.add(words);
    }
    return {
        count: shown.length,
        byArrows: shown.filter(node => node.tabIndex < 0 || node.type === 'radio').map(node => +node.dataset.control),
        alone: shown.filter(node => node.tabIndex < 0 && !node.closest(groups)).map(node => node.outerHTML),
        twice,
    };
}"""
#: The control that has the focus, and whether one sees that.
FOCUSED = """() => {
    const node = document.activeElement;
    const around = node.matches('input[type=radio]') ? node.closest('label, li, tr') ?? node : node;
    const style = [node, around].map(one => getComputedStyle(one));
    const isSeen = style.some(one => (one.outlineStyle !== 'none' && parseFloat(one.outlineWidth) >= 1)
        || one.boxShadow !== 'none');
    return [+(node.dataset.control ?? -1), isSeen, node.outerHTML.slice(0, 200)];
}"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_each_control_is_reached_by_keys_seen_when_it_is_and_has_a_name_of_its_own(gallery):
    page = gallery()
    found = page.evaluate(CONTROLS)
    assert not found["twice"], "controls of one name, or of none"
    assert not found["alone"], "controls that neither the tab key nor arrows reach"
    reached, unseen = set(), []
    for _ in range(2 * found["count"]):  # what scrolls is a stop too
        page.keyboard.press("Tab")
        control, is_seen, html = page.evaluate(FOCUSED)
        if control in reached:
            break
        if control >= 0:
            reached.add(control)
            unseen += [] if is_seen else [html]
    assert not unseen, "controls whose focus isn't seen"
    assert set(range(found["count"])) - reached <= set(found["byArrows"])
