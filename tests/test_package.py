"""The package as a whole: its map, and what each module says it offers."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import aims_server
import aims_server.demo
import aims_server.primitives
import aims_server.upstream

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
MODULES = [
    module.name
    for module in pkgutil.walk_packages(aims_server.__path__, "aims_server.")
    if not module.ispkg and not module.name.endswith("__main__")
]


def drawn(package):
    """The names in the map of a package's docstring, in its order."""
    return re.findall(r"^    (\w+) {2,}", package.__doc__ or "", re.MULTILINE)


def entries(package):
    """The folders and modules of a package, as `ls` shows them, without dunders."""
    names = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return names - {"__main__"}


@pytest.mark.parametrize(
    "package",
    [
        aims_server,
        aims_server.demo,
        aims_server.primitives,
        aims_server.upstream,
        aims_server.upstream.answers,
        aims_server.upstream.resilience,
        aims_server.upstream.transport,
    ],
)
def test_the_map_is_the_folder(package):
    """The map in a package's docstring has one entry for each of its rooms, and none
    for one that is not there.
    """
    assert sorted(drawn(package)) == sorted(entries(package))


def test_the_map_is_in_call_order():
    """None of its rooms is above one that may import it."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [rule["layers"] for rule in contracts if rule["id"] == "layers"]
    height = {
        name: number
        for number, layer in enumerate(layers)
        for name in layer.split(" | ")
    }
    heights = [height[name] for name in drawn(aims_server)]
    assert heights == sorted(heights)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_what_it_offers(name):
    """Each has an `__all__`, and every name in it exists."""
    module = importlib.import_module(name)
    assert module.__all__
    assert all(hasattr(module, offered) for offered in module.__all__)
