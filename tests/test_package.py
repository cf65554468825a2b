"""The package as a whole: its map, and what each module says it offers."""

import importlib
import pkgutil
import re

import pytest

import aims_server
import aims_server.demo

MODULES = [
    module.name
    for module in pkgutil.walk_packages(aims_server.__path__, "aims_server.")
    if not module.ispkg and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_map_names_every_module(name):
    """`help(aims_server)` leaves nothing out, nor does that of the demo."""
    _, *folder, module = name.split(".")
    map_of = aims_server.demo if folder == ["demo"] else aims_server
    assert re.search(rf"\b{module}\b", map_of.__doc__ or "")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_what_it_offers(name):
    """Each has an `__all__`, and every name in it exists."""
    module = importlib.import_module(name)
    assert module.__all__
    assert all(hasattr(module, offered) for offered in module.__all__)
