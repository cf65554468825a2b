"""The composition root: settings become objects here and nowhere else.

`Machine` is what all workers of a machine share, `build` makes one worker's objects.
"""

from .machine import Machine
from .worker import Worker, build

__all__ = ["Machine", "Worker", "build"]
