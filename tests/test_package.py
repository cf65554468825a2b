"""The package as a whole: its map, and what each module says it offers."""

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import grimp
import pytest

import aims_server
import aims_server.demo
import aims_server.primitives
import aims_server.upstream
import bench

from .waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "pyproject.toml"
FOLDERS = (".ci", "aims_server", "bench", "conf", "docs", "systemd", "tests")
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
        bench,
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


def test_a_package_is_imported_and_not_its_modules():
    """What it offers is in its `__init__`. But the route table names handlers, and one
    command launches the simulated platform.
    """
    graph = grimp.build_graph("aims_server", cache_dir=None)
    inner = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            package = imported.rpartition(".")[0]
            if package and not f"{module}.".startswith(f"{package}."):
                inner.add((module, package))
    assert inner == {
        ("aims_server.app.routes", "aims_server.handlers"),
        ("aims_server.cli.commands", "aims_server.demo"),
    }


@pytest.mark.process
def test_the_source_distribution_is_the_repository(tmp_path):
    """It has everything that tests, tasks and links of the documents need."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith((".git", ".env", ".coverage")):
            shutil.copy(file, source)
    files = {
        str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()
    }
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "sdist", "--formats=tar"],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=2 * PATIENCE_SECONDS,
    )
    (made,) = (source / "dist").iterdir()
    with tarfile.open(made) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert files - packed == set()
