"""What metrics tests read and feed: samples of an exposition, levels to take down."""

LEVELS = {
    "entries": 3,
    "bytes": 4096,
    "evictions": 0,
    "slots_in_use": 2,
    "slots_waiting": 1,
    "slots_limit": 25,
}


def read(metrics):
    """The samples of an exposition: {"name": value, 'name{label="x"}': value}."""
    samples = {}
    for line in metrics.exposition().decode().splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            assert series not in samples
            samples[series] = float(value)
    return samples


def requests(samples):
    """How many requests the samples count, whatever their labels."""
    return sum(n for s, n in samples.items() if s.startswith("aims_requests_total{"))
