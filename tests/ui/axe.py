"""What axe-core finds wrong with the accessibility of a page, https://github.com/dequelabs/axe-core."""

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

#: npm puts it there with all that the Lab extension needs.
NPM = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
COUNTS = ("serious", "critical")
#: Lab's body has no height, for which axe would take all that is in it for hidden, and say nothing of its colours.
RUN = """async (element, runOnly) => {
    const around = [document.documentElement, document.body];
    const heights = around.map(one => one.style.height);
    around.forEach(one => { one.style.height = '100vh'; });
    try {
        return await window.axe.run(element, {resultTypes: ['violations'], ...(runOnly.length && {runOnly})});
    } finally {
        around.forEach((one, at) => { one.style.height = heights[at]; });
    }
}"""
#: The buttons and links of ours that no name tells from another of the same view.
NAMESAKES = """element => {
    const known = new Map();
    return [...element.querySelectorAll('button, a[href]')].filter(node => {
        const view = node.closest('section[aria-label], [role=region], [role=listitem], .lk, .lk-statusbar');
        if (!view || !node.checkVisibility() || node.closest('.lk-marked')) return false;
        const name = node.getAttribute('aria-label') || node.innerText.trim();
        const names = known.get(view) ?? known.set(view, new Set()).get(view);
        const isTwice = names.has(name);
        names.add(name);
        return isTwice;
    }).map(node => `two of one name: ${node.outerHTML.slice(0, 300)}`);
}"""


def findings(where: Page | Locator, *rules: str) -> list[str]:
    """Return what is serious or critical in a page, or in a part of it, and where; by these rules or all."""
    page, part = (where.page, where) if isinstance(where, Locator) else (where, where.locator("html"))
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(Path(os.environ.get("AXE", NPM)).read_text("utf-8"))
    return [_named(found) for found in part.evaluate(RUN, rules)["violations"] if found["impact"] in COUNTS]


def namesakes(part: Locator) -> list[str]:
    """Return the buttons and links of ours in a part that have the name of another of the same view."""
    return part.evaluate(NAMESAKES)


def _named(found: dict[str, Any]) -> str:
    places = "".join(f"\n  {node['html']}\n  {node['failureSummary']}" for node in found["nodes"])
    return f"{found['impact']}: {found['id']}: {found['help']}, {found['helpUrl']}{places}"
