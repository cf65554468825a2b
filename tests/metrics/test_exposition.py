"""Prometheus' text format, as prometheus_client reads and writes it."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric as TheirMetric
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aims_server.metrics.exposition import expose
from aims_server.metrics.families import Metric

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))
SAMPLES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["le", "route", "worker"]), texts),
        st.floats(allow_nan=False, min_value=0) | st.integers(0, 10**12),
    ),
    max_size=4,
    unique_by=lambda sample: tuple(sorted(sample[0].items())),
)


def ours_of(kind, samples, *, help="It is counted."):
    """A family with these samples."""
    name = "aims_n_total" if kind == "counter" else "aims_n"
    family = Metric("aims_n", help, kind)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family


@given(st.sampled_from(["counter", "gauge"]), SAMPLES)
def test_the_library_reads_what_was_written(kind, samples):
    """Names, labels whatever is in them, and values to the last bit."""
    text = expose([ours_of(kind, samples)]).decode()
    _, family = text_string_to_metric_families(text)
    assert (family.name, family.type) == ("aims_n", kind)
    assert [(each.labels, each.value) for each in family.samples] == samples


def test_it_is_written_as_the_library_writes_it():
    """Byte for byte, escapes and order of labels included."""
    samples = [({"route": 'a"b\\c\nd', "le": "+Inf"}, 3), ({}, 0.25), ({}, 123456.0)]
    for kind in ("counter", "gauge", "histogram"):
        ours = ours_of(kind, samples, help="One line\nand a \\ more.")
        theirs = TheirMetric(ours.name, ours.help, kind)
        for sample in ours.samples:
            theirs.add_sample(*sample)
        written = expose([ours]).partition(b"# HELP aims_n")
        assert written[1] + written[2] == generate_latest(_Collected(theirs))


class _Collected:
    """A metric in the form in which the library takes it."""

    def __init__(self, metric):
        self._metric = metric

    def collect(self):
        """All metrics."""
        return [self._metric]
