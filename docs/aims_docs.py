"""Tables that Sphinx draws out of the code itself, and a check of the built pages.

Directives: ``aims-settings`` (every variable), ``aims-metrics`` (every metric),
``aims-alerts`` (every rule with its runbook), ``aims-figures`` (what one part of
``make bench`` measured last), ``aims-packages`` (each package with its
modules), ``aims-imports`` (who imports whom, as a matrix), ``aims-layers`` (the order
that import-linter holds). What can be drawn is not written by hand.
"""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import grimp
import yaml
from docutils import nodes
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

import aims_server
from aims_server.config.settings import VARIABLES
from aims_server.config.variables import Variable
from aims_server.metrics import Metrics

__all__ = [
    "Alerts",
    "Figures",
    "Imports",
    "Layers",
    "MetricsList",
    "Packages",
    "SettingsList",
    "foreign_resources",
    "import_counts",
    "layers",
    "setup",
]

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aims_server"

Cells = Iterable[str]


def list_table(
    head: Cells, rows: Iterable[Cells], widths: str = "auto", stubs: int = 0
) -> str:
    """Write a list-table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}"]
    lines += [f"   :stub-columns: {stubs}", ""]
    for row in (head, *rows):
        for number, cell in enumerate(row):
            lines.append(f"   {'*' if number == 0 else ' '} - {cell}".rstrip())
    return "\n".join(lines)


class Generated(SphinxDirective):
    """A directive whose text a program writes."""

    def text(self) -> str:
        """Give the reStructuredText that stands in the directive's place."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse that text where the directive stands, whenever the pages are built."""
        self.env.note_reread()
        return self.parse_text_to_nodes(self.text(), allow_section_headings=True)


class Figures(Generated):
    """What the part of ``make bench`` that is the argument has measured last."""

    required_arguments = 1

    def text(self) -> str:
        """The section of bench/RESULTS.rst, without its heading."""
        written = (ROOT / "bench" / "RESULTS.rst").read_text("utf-8")
        _, *parts = re.split(r"(?m)^(\S.*)\n-+\n", written)
        figures = dict(zip(parts[::2], parts[1::2], strict=True))
        try:
            return figures[self.arguments[0]]
        except KeyError as missing:
            raise self.error(f"bench/RESULTS.rst has no part {missing}") from None


class SettingsList(Generated):
    """Every variable with its default, its meaning and what it takes."""

    def text(self) -> str:
        """One definition for each variable, in the order of the settings' own table."""
        return "\n\n".join(map(self._variable, VARIABLES))

    def _variable(self, variable: Variable) -> str:
        default = f"``{variable.default}``" if variable.default else "none"
        takes = variable.parser.allowed.replace("://", r"\://")  # no address, no link
        return (
            f"``{variable.name}``\n   {variable.meaning} Takes {takes}.\n"
            f"   Default: {default}."
        )


class MetricsList(Generated):
    """Every metric with its type, its labels and its meaning."""

    def text(self) -> str:
        """One definition for each metric, in the order of the exposition."""
        told = Metrics().exposition().decode()
        return "\n\n".join(map(self._metric, text_string_to_metric_families(told)))

    def _metric(self, family: Metric) -> str:
        name, labels = _named(family)
        by = f" by {labels}" if labels else ""
        return f"``{name}``\n   {family.documentation} *{family.type.title()}*{by}."


def _named(family: Metric) -> tuple[str, str]:
    """The name as it is queried, and the labels; a histogram's bounds are no label."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return name, ", ".join(f"``{label}``" for label in sorted(labels))


class Alerts(Generated):
    """Every alert rule with its severity, what it says, and its runbook."""

    def text(self) -> str:
        """One definition for each rule, in the order of the file."""
        written = yaml.safe_load((ROOT / "conf" / "alerts.yml").read_text("utf-8"))
        rules = [rule for group in written["groups"] for rule in group["rules"]]
        return "\n\n".join(map(self._rule, rules))

    def _rule(self, rule: dict[str, Any]) -> str:
        told = rule["annotations"]
        summary = re.sub(r"\{\{.*?\}\}", "…", told["summary"])
        runbook = re.sub(r"`([^`]+)`", r"``\1``", told["runbook"])
        severity = rule["labels"]["severity"]
        return f"**{rule['alert']}** ({severity})\n   *{summary}*\n\n   {runbook}"


def purposes() -> dict[str, str]:
    """Each part of the package with its purpose, as the package's docstring has it."""
    drawn = re.findall(r"^    (\w+) {2,}(.+)$", aims_server.__doc__ or "", re.MULTILINE)
    return dict(drawn)


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph.removesuffix("::"))[0]


def modules(part: str) -> Iterator[tuple[str, Path]]:
    """The modules of a package by name; of a module, itself."""
    folder = PACKAGE / part
    if not folder.is_dir():
        yield part, folder.with_suffix(".py")
        return
    for path in sorted(folder.rglob("*.py")):
        if path.name != "__init__.py":
            yield ".".join(path.relative_to(folder).with_suffix("").parts), path


class Packages(Generated):
    """Each package with its purpose, and what each of its modules owns."""

    def text(self) -> str:
        """One heading and one table for each part, in call order."""
        return "\n\n".join(self._part(*part) for part in purposes().items())

    def _part(self, part: str, purpose: str) -> str:
        rows = (
            (f"``{name}``", str(len(path.read_text("utf-8").splitlines())), told)
            for name, path in modules(part)
            for told in [first_sentence(path)]
        )
        table = list_table(("module", "lines", "owns"), rows, "22 8 70")
        told = f"{purpose[0].upper()}{purpose[1:]}."
        return f"{part}\n{'~' * len(part)}\n\n{told}\n\n{table}"


def import_counts() -> Counter[tuple[str, str]]:
    """How many imports lead from one part of the package to another."""
    graph = grimp.build_graph("aims_server", cache_dir=None)
    counts: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = tuple(([*name.split("."), ""])[1] for name in (module, imported))
            if all(pair) and pair[0] != pair[1]:
                counts[pair[0], pair[1]] += 1
    return counts


class Imports(Generated):
    """Who imports whom: a matrix with the number of imports in each cell."""

    def text(self) -> str:
        """Rows and columns are the parts of the package, the highest layer first."""
        counts = import_counts()
        parts = [
            part for layer in layers() for part in layer if not part.startswith("_")
        ]
        rows = (
            (
                f"{number} {part}",
                *(
                    str(counts[part, other] or "") if part != other else "■"
                    for other in parts
                ),
            )
            for number, part in enumerate(parts, 1)
        )
        head = ("imports", *map(str, range(1, len(parts) + 1)))
        upwards = sum(
            counts[low, high]
            for place, high in enumerate(parts)
            for low in parts[place + 1 :]
        )
        total = counts.total()
        told = f"{total} imports between {len(parts)} parts; {upwards} lead upwards."
        return f"{list_table(head, rows, stubs=1)}\n\n{told}"


def layers() -> list[list[str]]:
    """The layers that import-linter holds, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["id"] == "layers"
    )
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


class Layers(Generated):
    """The layers of the package, one line each."""

    def text(self) -> str:
        """Each line may import what is below it."""
        drawn = "\n".join(f"   {' | '.join(layer)}" for layer in layers())
        return f"::\n\n{drawn}"


class _Resources(HTMLParser):
    """Collects what a browser loads by itself when it shows a page."""

    LOADING: ClassVar = {
        "script": "src",
        "link": "href",
        "img": "src",
        "iframe": "src",
        "source": "src",
        "video": "src",
        "audio": "src",
        "object": "data",
        "embed": "src",
    }

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address that this tag makes a browser load."""
        address = dict(attrs).get(self.LOADING.get(tag, ""))
        if address is not None:
            self.found.append(address)


def foreign_resources(folder: Path) -> list[str]:
    """What the built pages and style sheets would load from another host."""
    foreign = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".html", ".css"}:
            continue
        text = path.read_text("utf-8")
        page = _Resources()
        page.feed(text if path.suffix == ".html" else "")
        loaded = page.found + re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", text)
        foreign += [
            f"{path.relative_to(folder)}: {address}"
            for address in loaded
            if re.match(r"(?i)(?:https?:)?//", address)
        ]
    return foreign


def refuse_foreign_resources(app: Sphinx, exception: Exception | None) -> None:
    """End the build with an error if a page would load something from elsewhere."""
    if exception is None and (foreign := foreign_resources(Path(app.outdir))):
        raise ExtensionError("Loaded from another host:\n" + "\n".join(foreign))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Give Sphinx the directives and the check."""
    app.add_directive("aims-settings", SettingsList)
    app.add_directive("aims-metrics", MetricsList)
    app.add_directive("aims-alerts", Alerts)
    app.add_directive("aims-figures", Figures)
    app.add_directive("aims-packages", Packages)
    app.add_directive("aims-imports", Imports)
    app.add_directive("aims-layers", Layers)
    app.connect("build-finished", refuse_foreign_resources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
