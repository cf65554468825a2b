"""Sphinx's settings for these pages; `make docs` builds them into `build/docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from aims_server import __version__

project = "aims_server"
author = "The aims_server authors"
version = release = __version__

extensions = ["aims_docs"]
exclude_patterns: list[str] = []
nitpicky = True

html_theme = "furo"  # its fonts are the reader's own; it loads nothing from elsewhere
html_title = f"aims_server {release}"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
