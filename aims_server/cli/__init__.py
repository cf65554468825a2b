"""The command ``aims-server``.

`arguments` parses the command line, `commands` runs the commands; a long command has
its own module. Only this package reads the environment for the settings.
"""

from .commands import main

__all__ = ["main"]
