"""The pages of docs/ against the code, and the code's references to them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aims_docs import foreign_resources  # docs/ is on the path: see pyproject.toml
from docutils.core import publish_doctree

from aims_server import errors
from aims_server.config.settings import VARIABLES
from aims_server.metrics import labels
from aims_server.web import openapi

from .waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CONTRACT = (DOCS / "contract.rst").read_text("utf-8")

STRICT = {"halt_level": 2}  # whatever docutils would warn of is an error
TEXTS = {".py", ".rst", ".yml", ".yaml", ".conf", ".cfg", ".service", ".socket", ".env"}
FOLDERS = ["aims_server", "bench", "conf", "docs", "systemd", "tests"]
REFERENCE = re.compile(r"docs/([\w-]+)\.rst((?:,? (?:and |to )?P?\d+(?:\.\d+)?)*)")


def texts() -> Iterator[tuple[str, str]]:
    """Every text that somebody wrote, with its path in the repository."""
    for path in [
        *ROOT.glob("*.*"),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")),
    ]:
        if path.suffix in TEXTS and path != Path(__file__):
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def pages() -> list[Path]:
    """The pages, by name."""
    return sorted(DOCS.rglob("*.rst"))


def promises() -> list[int]:
    """The numbers of the promises that docs/reliability.rst makes."""
    text = (DOCS / "reliability.rst").read_text("utf-8")
    return [int(number) for number in re.findall(r"^\*\*P(\d+)\.", text, re.MULTILINE)]


def test_the_pages_build_without_a_warning(tmp_path):
    """As `make docs` builds them: every cross-reference leads somewhere."""
    build = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q"),
            *("-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "pages")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * PATIENCE_SECONDS,
    )
    assert (build.returncode, build.stderr) == (0, "")
    assert {path.stem for path in (tmp_path / "pages").glob("*.html")} >= {
        page.stem for page in pages()
    }


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.rst")), ids=lambda page: page.stem)
def test_a_page_beside_them_is_whole(page):
    """A merge may leave lines above the title, or a list that is none."""
    read = publish_doctree(page.read_text("utf-8"), settings_overrides=STRICT)
    assert read["title"]


def test_no_reference_leaves_the_repository():
    """Facts are looked up in docs/, never in notes that a reader does not have."""
    notes = re.compile(
        r"\b(?:api|upstream|reliability|style|layout|store|faults)\.md\b"
    )
    assert [name for name, text in texts() if notes.search(text)] == []


def test_the_promises_are_numbered_without_a_gap():
    """A number never changes its meaning, so none is ever left out."""
    assert promises() == [*range(1, len(promises()) + 1)]


def test_a_promise_is_named_with_its_page():
    """A file that says "P9" says where that is explained, and it is explained there."""
    for name, text in texts():
        if name.startswith("docs/"):
            continue
        named = {int(number) for number in re.findall(r"\bP([1-9]\d?)\b", text)}
        assert not named or "docs/reliability.rst" in text, name
        assert named <= {*promises()}, name


def test_every_section_that_is_referred_to_exists():
    """ "docs/contract.rst 2.2" leads to a heading of that number."""
    wanted = {
        (page, number)
        for _, text in texts()
        for page, numbers in REFERENCE.findall(text)
        for number in re.findall(r"\d[\d.]*", numbers)
        if "P" not in numbers
    }
    assert wanted
    for page, number in sorted(wanted):
        text = (DOCS / f"{page}.rst").read_text("utf-8")
        assert re.search(rf"^{re.escape(number)}\.? \w", text, re.MULTILINE), (
            page,
            number,
        )


def test_every_page_that_is_referred_to_exists():
    """No reference leads to a page that is not there."""
    for name, text in texts():
        for page, _ in REFERENCE.findall(text):
            assert (DOCS / f"{page}.rst").exists(), (name, page)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page):
    """Modules stand under aims_server/, tests under tests/, or the path is whole."""
    named = re.findall(
        r"``(\w[\w./-]*\.(?:py|rst|yml|yaml|conf|cfg|json))", page.read_text("utf-8")
    )
    for name in named:
        places = [ROOT / name, ROOT / "aims_server" / name, ROOT / "tests" / name]
        assert any(place.exists() for place in places), name


def test_every_module_in_the_life_of_a_page_or_call_exists():
    """The two sections of docs/architecture.rst follow a request by these names."""
    text = (DOCS / "architecture.rst").read_text("utf-8")
    lives = text.partition("The life of a page")[2].partition("\nProcesses\n")[0]
    modules = re.findall(r"(?<![/\w])[a-z_]+(?:/[a-z_]+)+", lives)
    assert len(modules) > 20
    assert [m for m in modules if not (ROOT / f"aims_server/{m}.py").exists()] == []


def test_each_promise_names_its_proof():
    """A test, or the plain word that there is none."""
    text = (DOCS / "reliability.rst").read_text("utf-8")
    for promise in re.split(r"^(?=\*\*P\d+\.)", text, flags=re.MULTILINE)[1:]:
        proof = promise.partition("Proof")[2]
        assert re.search(r"/?test_\w+\.py|no test", proof), promise


@pytest.mark.parametrize(("page", "least"), [("reliability", 100), ("inputs", 60)])
def test_each_test_that_a_page_names_as_proof_exists(page, least):
    """Under its file stands a function of that name, its blanks underlined."""
    text = (DOCS / f"{page}.rst").read_text("utf-8")
    proofs = re.findall(
        r"^ +(?:- )+``(\S+\.py)``:((?:\s+\*\w[^*]*\*[;,]?)+)", text, re.MULTILINE
    )
    assert len(proofs) >= least
    for file, names in proofs:
        tests = (ROOT / "tests" / file).read_text("utf-8")
        for name in re.findall(r"\*([^*]+)\*", names):
            function = f"test_{'_'.join(name.split())}"
            assert f"def {function}(" in tests, (file, name)


def test_the_contract_has_every_error():
    """Section 2.4 lists the statuses and codes of the tree of errors, and no other."""
    listed = re.findall(r"^   \* - (\d+)\n     - ``(\w+)``", CONTRACT, re.MULTILINE)
    tree = {
        (str(failure.status), failure.code)
        for failure in map(vars(errors).get, errors.__all__)
        if isinstance(failure, type) and issubclass(failure, errors.ApiError)
    }
    assert {*listed} == tree


def test_every_kind_of_oddity_is_explained():
    """Section 11 of the platform's page lists what metrics count."""
    section = (DOCS / "platform.rst").read_text("utf-8").partition("\n11. ")[2]
    _, *explained = re.findall(r"^   \* - ``(\w+)``\n", section, re.MULTILINE)
    assert {*explained} == {kind for _, kind in labels.ODDITIES}


def test_the_contract_has_every_path():
    """Section 1 names all that the API description has."""
    section = CONTRACT.partition("2. Bodies\n")[0]
    for path in json.loads(openapi.load_openapi())["paths"]:
        assert re.search(rf"(?:``|[A-Z] ){re.escape(path)}(?![\w/-])", section), path


@pytest.mark.parametrize(
    "page", [*pages(), *ROOT.glob("*.rst")], ids=lambda page: page.stem
)
def test_a_page_spells_every_setting_right(page):
    """An upper-case name with an underscore is a setting, or another program's."""
    known = {variable.name for variable in VARIABLES}
    others = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}
    text = page.read_text("utf-8")
    named = re.findall(r"(?:``|^ +)([A-Z]+_[A-Z_]+)\b", text, re.MULTILINE)
    assert {*named} <= known | others


def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path):
    """A script, a style sheet and a font of another host are; a link is not."""
    (tmp_path / "page.html").write_text(
        '<a href="https://linked.test/"></a><script src="//script.test/a.js"></script>'
        '<link rel="stylesheet" href="https://style.test/a.css"><img src="here.png">'
    )
    (tmp_path / "a.css").write_text('@font-face {src: url("https://font.test/a")}')
    assert foreign_resources(tmp_path) == [
        "a.css: https://font.test/a",
        "page.html: //script.test/a.js",
        "page.html: https://style.test/a.css",
    ]
