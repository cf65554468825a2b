"""The composition root: what the workers of a machine share, one worker's objects, and
what answers where. Only here are settings turned into objects.
"""

from .machine import Machine
from .worker import Worker, build

__all__ = ["Machine", "Worker", "build"]
