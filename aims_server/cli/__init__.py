"""The command ``aims-server``: what a person types, and what it prints.

`arguments` reads the command line, `commands` runs what it names; a long command has a
module of its own. Only this package reads the environment for the settings.
"""

from .commands import main

__all__ = ["main"]
