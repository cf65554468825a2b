"""Pictures of the views that the documentation shows: ``make screenshots``."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .visiting import Demo, Visit, running_browser, running_demo

SIZES = {"phone": (390, 844), "desktop": (1280, 800)}
SHOWN = Path(__file__).parents[2] / "docs" / "page.rst"


def take(folder: Path) -> None:
    """Write a PNG file for each picture in docs/page.rst."""
    shown = re.findall(r"images/(\w+)-(\w+)-(\w+)\.png", SHOWN.read_text("utf-8"))
    with (
        TemporaryDirectory() as directory,
        running_demo(Path(directory)) as demo,
        running_browser() as browser,
    ):
        for view, size, theme in shown:
            visit = opened(demo, browser, size, theme)
            visit.show(view)
            visit.page.screenshot(path=folder / f"{view}-{size}-{theme}.png")
            visit.context.close()


def opened(demo: Demo, browser: Any, size: str, theme: str) -> Visit:
    """The page with a student logged in, and without the demo's corner."""
    visit = Visit(browser.new_context(), demo, size=SIZES[size], color_scheme=theme)
    visit.log_in(demo.students[1])
    visit.settle()
    visit.page.evaluate("document.querySelector('.demo').remove()")
    return visit


if __name__ == "__main__":
    take(Path(sys.argv[1]))
