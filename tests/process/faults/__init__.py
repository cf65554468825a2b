"""What may go wrong, provoked one by one on the real command, and the first line of the
log that tells it.
"""

from . import at_start, load, platform, processes, store

FAULTS = {
    "Before it serves": at_start.FAULTS,
    "The process": processes.FAULTS,
    "Clients and load": load.FAULTS,
    "The platform": platform.FAULTS,
    "The store": store.FAULTS,
}
