"""Film a cell in JupyterLab: it streams, draws a figure and closes with its receipt; ``make docs`` runs this.

    python notebooks/on_local_cloud.py --fresh --simulate-gpu DATA python tests/ui/film.py

writes notebooks/images/cell-light.gif and cell-dark.gif, each below 2 MB.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ui import browser, lab, notebook  # noqa: E402 (found by the line before)

LOAD = "%load_ext lk_jupyter"
CELL = """%%lk_run --gpu A100
import time
import matplotlib.pyplot as plt

losses = []
for epoch in range(1, 6):
    losses.append(1 / epoch)
    print(f"epoch {epoch}  loss {losses[-1]:.3f}")
    time.sleep(0.5)

plt.figure(figsize=(4, 1.6))
plt.plot(losses, marker="o")
plt.title("loss")
plt.show()"""
SIZE = {"width": 900, "height": 920}
#: Seconds between two frames, those that the last frame stays, and colors of a frame.
PACE, LAST, COLORS = 0.25, 4.0, 48
MOST_BYTES = 2_000_000


def film(book: notebook.OpenNotebook, page: Page) -> list[tuple[float, Image.Image]]:
    """Run the cell, and return pictures of the page with the seconds at which each was taken."""
    cell = page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(1)
    frames = [(0.0, _picture(page))]
    book.command("notebook:run-cell")
    began = time.monotonic()
    while "Completed" not in cell.locator(".jp-OutputArea").inner_text(timeout=0) or time.monotonic() - began < 1:
        frames.append((time.monotonic() - began, _picture(page)))
        time.sleep(PACE)
    time.sleep(1)
    return [*frames, (time.monotonic() - began, _picture(page))]


def _picture(page: Page) -> Image.Image:
    return Image.open(
        io.BytesIO(page.locator(".jp-NotebookPanel:visible .jp-WindowedPanel-outer").screenshot())
    ).convert("RGB")


def write(frames: list[tuple[float, Image.Image]], path: Path) -> None:
    """Write an animated GIF; a picture that equals the one before only prolongs it."""
    kept = [frames[0]]
    for seconds, picture in frames[1:]:
        if ImageChops.difference(kept[-1][1], picture).getbbox():
            kept.append((seconds, picture))
    ends = [*(seconds for seconds, _ in kept[1:]), kept[-1][0] + LAST]
    durations = [max(20, round(1000 * (end - seconds))) for (seconds, _), end in zip(kept, ends, strict=True)]
    first, *rest = [picture.quantize(COLORS, dither=Image.Dither.NONE) for _, picture in kept]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, optimize=True)
    print(f"{path.relative_to(ROOT)}: {len(kept)} frames, {sum(durations) / 1000:.0f} s, {path.stat().st_size:,} bytes")
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"{path} is larger than {MOST_BYTES:,} bytes.")


def main() -> None:
    """Film the cell in both themes."""
    signed_in = {name: os.environ[name] for name in ("LK_BASE_URL", "LK_API_KEY", "LK_JOURNAL")}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        settings, root = Path(folder, "settings"), Path(folder, "notebooks")
        settings.mkdir(), root.mkdir()
        chromium = playwright.chromium.launch(executable_path=browser.find(), args=["--no-sandbox"])
        with lab.running(settings, root, signed_in) as running:
            for theme in ("light", "dark"):
                page = chromium.new_page(viewport=SIZE)
                expect.set_options(timeout=60_000)
                name = f"{theme}.ipynb"
                notebook.write(root / name, LOAD, CELL)
                running.start_kernel(name)
                book = notebook.OpenNotebook(page)
                book.load(f"{running.url}/lab/tree/{name}?token={running.token}&reset")
                book.command("application:toggle-left-area")
                book.command("apputils:change-theme", theme=f"JupyterLab {theme.capitalize()}")
                expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "light").lower())
                book.run(0)
                book.ended()
                page.evaluate(notebook.SELECT, 1)
                write(film(book, page), ROOT / "notebooks" / "images" / f"cell-{theme}.gif")
                page.close()
        chromium.close()


if __name__ == "__main__":
    main()
