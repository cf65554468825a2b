"""The metrics of all workers in Prometheus' text format 0.0.4, and the build's versions
(https://prometheus.io/docs/instrumenting/exposition_formats/).

Written here and not by prometheus_client, any part of which imports all of it,
http.server and wsgiref too: a tenth of the start's CPU, and 2.7 MB. In
tests/metrics/test_exposition.py its parser reads what is written here.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Final

import tornado

from .. import __version__
from .families import Metric

__all__ = ["expose"]

_IN_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def expose(families: Iterable[Metric]) -> bytes:
    """The text.

    >>> load = Metric("aims_load", "Of this worker.", "gauge")
    >>> load.add_sample("aims_load", {"worker": "0"}, 0.5)
    >>> print(expose([load]).decode())  # doctest: +ELLIPSIS
    # HELP aims_build_info Versions of the running software; always 1.
    ...
    # HELP aims_load Of this worker.
    # TYPE aims_load gauge
    aims_load{worker="0"} 0.5
    <BLANKLINE>
    """
    families = [_build(), *families]
    return "".join(line for each in families for line in _lines(each)).encode()


def _lines(metric: Metric) -> Iterator[str]:
    name = metric.name + ("_total" if metric.kind == "counter" else "")
    yield f"# HELP {name} {metric.help.translate(_IN_HELP)}\n"
    yield f"# TYPE {name} {metric.kind}\n"
    for sample in metric.samples:
        yield f"{sample.name}{_braced(sample.labels)} {_number(sample.value)}\n"


def _braced(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{labels[name].translate(_IN_LABEL)}"' for name in sorted(labels))
    return "{" + ",".join(pairs) + "}"


def _number(value: float) -> str:
    return "+Inf" if value == inf else repr(float(value))


def _build() -> Metric:
    """The same in all workers, so it needs no memory of theirs."""
    build = Metric(
        "aims_build_info", "Versions of the running software; always 1.", "gauge"
    )
    versions = {
        "version": __version__,
        "python": sys.version.split()[0],
        "tornado": tornado.version,
    }
    build.add_sample("aims_build_info", versions, 1)
    return build
