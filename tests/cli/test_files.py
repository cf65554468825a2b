"""`aims-server files`, from a checkout and from a built package."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aims_server.cli.files import FilesError, write_files

from ..waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
EXPECTED = {
    str(path.relative_to(ROOT)): path.read_bytes()
    for folder in ("conf", "systemd")
    for path in (ROOT / folder).iterdir()
}


def tree(directory: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_files_of_the_repository_are_written(tmp_path):
    """Each file is written, and writing again changes nothing."""
    for _ in range(2):
        written = list(write_files(tmp_path / "new"))
        assert len(written) == len(EXPECTED)
        assert tree(tmp_path / "new") == EXPECTED


def test_what_was_changed_is_not_overwritten(tmp_path):
    """The others are written, and it is told which one was not."""
    (tmp_path / "conf").mkdir()
    mine = tmp_path / "conf" / "nginx.conf"
    mine.write_text("# my own")
    with pytest.raises(FilesError, match=r"not written, .*conf/nginx\.conf"):
        list(write_files(tmp_path))
    assert mine.read_text() == "# my own"
    assert tree(tmp_path).keys() == EXPECTED.keys()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    """A file where a directory should be."""
    (tmp_path / "conf").write_text("")
    with pytest.raises(FilesError, match="File exists"):
        list(write_files(tmp_path))


def test_nothing_is_left_of_what_could_not_be_written(tmp_path):
    """Once there is room it is written, and not taken for a file that was changed."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most[1]))
    try:
        with pytest.raises(
            FilesError, match=r"grafana-dashboard\.json: File too large"
        ):
            list(write_files(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    list(write_files(tmp_path))
    assert tree(tmp_path) == EXPECTED


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    """What the package is built from, away from the repository."""
    source = tmp_path / "source"
    names = ("aims_server", "conf", "systemd")
    for name in names:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.py", "pyproject.toml", "README.rst", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    return source


def build(source: Path) -> Path:
    """What a wheel is packed from: to pack it takes a setuptools that some have not."""
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build", "--build-lib", "built"],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=2 * PATIENCE_SECONDS,
    )
    return source / "built"


@pytest.mark.process
def test_an_earlier_version_leaves_nothing_in_the_package(source):
    """A package built in a checkout holds no files of an earlier version."""
    gone = [source / "aims_server" / "gone.py", source / "conf" / "gone.conf"]
    for file in gone:
        file.touch()
    assert len(list(build(source).rglob("gone.*"))) == 2
    for file in gone:
        file.unlink()
    assert list(build(source).rglob("gone.*")) == []


@pytest.mark.process
def test_the_built_package_carries_them(source, tmp_path):
    """The built package writes the same files."""
    built = build(source)
    done = subprocess.run(
        [sys.executable, "-m", "aims_server", "files", "written"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(built)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path / "written") == EXPECTED
    assert (built / "aims_server/handlers/status_page/status.js").exists()
