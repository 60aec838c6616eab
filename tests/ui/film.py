"""Film three cells in JupyterLab: a variable is sent, a figure and a curve appear, and a result is used locally.

``make docs`` runs this:

    python notebooks/on_local_cloud.py --fresh --simulate-gpu DATA python tests/ui/film.py

writes notebooks/images/cell-light.gif and cell-dark.gif, each below 2 MB.
"""

from __future__ import annotations

import io
import itertools
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

INPUT = """%load_ext lk_jupyter
points = [(1, 2.1), (2, 3.9), (3, 6.2), (4, 7.8)]"""
RUN = """%%lk_run --gpu A100 --sync
import time
import matplotlib.pyplot as plt

slope, losses = 0, []
for step in range(1, 5):
    errors = [(x, y - slope * x) for x, y in points]
    losses.append(sum(e * e for x, e in errors))
    slope += 0.02 * sum(x * e for x, e in errors)
    print(f"step {step}  loss: {losses[-1]:.2f}")
    time.sleep(0.5)

plt.figure(figsize=(4, 1.3))
plt.plot(losses, marker="o")
plt.show()"""
RESULT = "round(slope, 2)"
#: A notebook that is narrow enough to read on a phone, with two pixels for each pixel of its layout.
SIZE, SCALE = {"width": 580, "height": 1200}, 2
MARGIN = 8
#: Seconds between two frames, those that a frame stays at most and the last one stays, and colors of a frame.
PACE, LONGEST, LAST, COLORS = 0.25, 0.7, 5.0, 48
MOST_BYTES = 2_000_000
INPUTS = ".jp-NotebookPanel:visible .jp-InputArea-editor"
OUTPUTS = ".jp-NotebookPanel:visible .jp-OutputArea-child"


def film(book: notebook.OpenNotebook, page: Page) -> list[tuple[float, Image.Image]]:
    """Run the cells, and return pictures of them with the seconds at which each was taken."""
    cell = page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(1)
    frames = [(0.0, _picture(page))]
    book.command("notebook:run-cell")
    began = time.monotonic()
    while "Completed" not in cell.locator(".jp-OutputArea").inner_text(timeout=0) or time.monotonic() - began < 1:
        frames.append((time.monotonic() - began, _picture(page)))
        time.sleep(PACE)
    book.run(2)
    book.ended()
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    frames.append((time.monotonic() - began, _picture(page)))
    area = _cells(page)
    return [(seconds, picture.crop(area)) for seconds, picture in frames]


def _picture(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def _cells(page: Page) -> tuple[int, int, int, int]:
    """Return the part of a picture with the inputs and outputs of all cells, without prompts and tools of Lab."""
    boxes = [box for name in (INPUTS, OUTPUTS) for place in page.locator(name).all() if (box := place.bounding_box())]
    top = min(box["y"] for box in boxes)
    left = min(box["x"] for box in boxes)
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    edges = (left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN)
    return tuple(round(edge * SCALE) for edge in edges)  # type: ignore[return-value]


def write(frames: list[tuple[float, Image.Image]], path: Path) -> None:
    """Write an animated GIF; a picture that equals the one before only prolongs it. Waits are shortened."""
    kept = [frames[0]]
    for seconds, picture in frames[1:]:
        if ImageChops.difference(kept[-1][1], picture).getbbox():
            kept.append((seconds, picture))
    waits = [min(end - start, LONGEST) for (start, _), (end, _) in itertools.pairwise(kept)]
    durations = [max(20, round(1000 * seconds)) for seconds in (*waits, LAST)]
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
                page = chromium.new_page(viewport=SIZE, device_scale_factor=SCALE)
                expect.set_options(timeout=60_000)
                name = f"{theme}.ipynb"
                notebook.write(root / name, INPUT, RUN, RESULT)
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
