"""Pictures of every view for the documentation: ``make screenshots``."""

import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from .visiting import VIEWS, Visit, running_browser, running_demo

SIZES = {"phone": (390, 844), "desktop": (1280, 800)}
THEMES = ("light", "dark")


def take(folder: Path) -> None:
    """Write a PNG file for each view, size and theme."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as directory,
        running_demo(Path(directory)) as demo,
        running_browser() as browser,
    ):
        for (size, (width, height)), theme in product(SIZES.items(), THEMES):
            visit = Visit(
                browser,
                demo,
                viewport={"width": width, "height": height},
                color_scheme=theme,
            )
            visit.page.screenshot(path=folder / f"login-{size}-{theme}.png")
            visit.log_in(demo.students[1])
            visit.settle()
            # The corner is the demo's, not the page's.
            visit.page.evaluate("document.querySelector('.demo').remove()")
            for view in VIEWS:
                visit.show(view)
                visit.page.screenshot(path=folder / f"{view}-{size}-{theme}.png")
            visit.context.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
