"""How many numbers the living workers of a machine have: tables in shared memory have a
place for each.
"""

from typing import Final

__all__ = ["WORKER_NUMBERS"]

# WORKERS is 256 at most, and twice as many and one live during a roll. More can live
# only after several reloads that change WORKERS.
WORKER_NUMBERS: Final = 520
