"""How many numbers the living workers of a machine have: tables in shared memory have a
place for each.
"""

from typing import Final

__all__ = ["WORKER_NUMBERS"]

# WORKERS is 256 at most, and twice as many and one live during a roll. After reloads
# that change WORKERS in a hurry, a start waits until another worker has ended.
WORKER_NUMBERS: Final = 520
