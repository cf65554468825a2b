"""The command ``aims-server``: what a person types, and what it prints.

Each command is a module; only this package reads the environment for the settings.
"""

from .commands import main

__all__ = ["main"]
