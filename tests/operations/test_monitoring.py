"""Alert rules, dashboard and scraping, held against the figures the service exposes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from aims_server.config.settings import VARIABLES
from aims_server.metrics import Metrics, MetricsMemory, worker_deaths
from aims_server.metrics.labels import LIMITS

from .programs import CONF, ROOT, accepted_by, mebibytes, unit

SELECTOR = re.compile(r"(aims_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
ADDED_BY_PROMETHEUS = {"job", "instance"}

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((CONF / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((CONF / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


def dashboard_expressions() -> Iterator[str]:
    """Every query of the dashboard, its variables filled in as Grafana would."""
    queries = [t["expr"] for panel in PANELS for t in panel.get("targets", [])]
    queries += [a["expr"] for a in DASHBOARD["annotations"]["list"] if "expr" in a]
    for query in queries:
        yield query.replace("$__rate_interval", "1m").replace("$instance", ".*")


ALERT_EXPRESSIONS = [rule["expr"] for rule in RULES]
DASHBOARD_EXPRESSIONS = list(dashboard_expressions())


@pytest.fixture(name="exposed", scope="module")
def _exposed() -> list[tuple[str, dict[str, str]]]:
    """Every series of a service that has not met a request yet."""
    memory = MetricsMemory(workers=2)
    worker_deaths(memory)
    text = Metrics(worker=0, memory=memory).exposition().decode()
    return [
        (sample.name, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def matches(labels: dict[str, str], matchers: list[tuple[str, str, str]]) -> bool:
    """Whether Prometheus would select a series of these labels."""
    for label, operator, value in matchers:
        have = labels.get(label, "")
        agrees = (
            re.fullmatch(value, have) is not None if "~" in operator else value == have
        )
        if agrees is operator.startswith("!"):
            return False
    return True


@pytest.mark.parametrize("expression", ALERT_EXPRESSIONS + DASHBOARD_EXPRESSIONS)
def test_every_query_selects_series_that_exist(
    exposed: list[tuple[str, dict[str, str]]], expression: str
):
    """No alert or panel waits for a metric, label or value that never comes."""
    for name, within in SELECTOR.findall(expression):
        matchers = [
            matcher
            for matcher in MATCHER.findall(within)
            if matcher[0] not in ADDED_BY_PROMETHEUS
        ]
        series = [labels for found, labels in exposed if found == name]
        assert series, f"{name} is not exposed"
        assert {label for label, _, _ in matchers} <= set(series[0])
        assert any(matches(labels, matchers) for labels in series), within


@pytest.mark.parametrize("expression", ALERT_EXPRESSIONS + DASHBOARD_EXPRESSIONS)
def test_every_query_groups_by_labels_that_exist(
    exposed: list[tuple[str, dict[str, str]]], expression: str
):
    """A "by" or "on" of a mistyped label would silently add everything up."""
    names = {name for name, _ in SELECTOR.findall(expression)}
    known = {label for name, labels in exposed if name in names for label in labels}
    for listed in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {x.strip() for x in listed.split(",")} <= known | ADDED_BY_PROMETHEUS


def test_the_dashboard_shows_every_figure(exposed: list[tuple[str, dict[str, str]]]):
    """A metric that no panel shows is one that nobody looks at."""
    shown = {name for e in DASHBOARD_EXPRESSIONS for name, _ in SELECTOR.findall(e)}
    figures = {re.sub("_(bucket|count|sum)$", "", name) for name, _ in exposed}
    assert figures == {re.sub("_bucket$", "", name) for name in shown}


def test_scraping_keeps_every_label(exposed: list[tuple[str, dict[str, str]]]):
    """The list of known labels in prometheus.yml has all that the service uses."""
    (job,) = yaml.safe_load((CONF / "prometheus.yml").read_text())["scrape_configs"]
    (keep,) = job["metric_relabel_configs"]
    used = {label for _, labels in exposed for label in labels}
    assert set(keep["regex"].split("|")) == used | ADDED_BY_PROMETHEUS | {"__name__"}
    assert len(exposed) * 4 < job["sample_limit"]


def test_scraping_asks_the_service_of_the_compose_file():
    """The target in prometheus.yml is a service of compose.yml and its port."""
    (job,) = yaml.safe_load((CONF / "prometheus.yml").read_text())["scrape_configs"]
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    (target,) = job["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert services[name]["environment"]["PORT"] == port


def test_prometheus_accepts_its_files():
    """``promtool check config`` finds no fault in the configuration and its rules."""
    said = accepted_by("promtool", "check", "config", CONF / "prometheus.yml")
    assert f"{len(RULES)} rules found" in said


def test_alerts_come_when_they_should_and_only_then():
    """Prometheus' own unit tests of the rules pass."""
    accepted_by(
        "promtool", "test", "rules", Path(__file__).with_name("alerts_test.yml")
    )


def test_prometheus_understands_the_dashboard(tmp_path: Path):
    """Every query of the dashboard is PromQL."""
    rules = [
        {"record": f"panel:query{n}", "expr": expression}
        for n, expression in enumerate(DASHBOARD_EXPRESSIONS)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    accepted_by("promtool", "check", "rules", path)


def test_there_are_rules_for_what_can_go_wrong():
    """Ten to twenty rules, each with a name of its own."""
    assert 10 <= len(RULES) <= 20
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_what_to_do(rule: dict[str, Any]):
    """Each alert has a severity, a sentence, and steps that name things that exist."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    runbook = rule["annotations"]["runbook"]
    assert len(runbook) > 80
    settings = {variable.name for variable in VARIABLES}
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", runbook)) <= settings
    alerts = {other["alert"] for other in RULES}
    assert set(re.findall(r"\bAims\w+", runbook)) <= alerts
    rows = {panel["title"] for panel in PANELS if panel["type"] == "row"}
    assert set(re.findall(r'row "([^"]*)"', runbook)) <= rows


def test_the_runbook_explains_each_limit():
    """Whoever reads its kind in the figures finds it there, in quotes."""
    (runbook,) = (
        rule["annotations"]["runbook"]
        for rule in RULES
        if rule["alert"] == "AimsManyLimited"
    )
    assert set(re.findall(r'"([a-z-]+)"', runbook)) == set(LIMITS)


def test_panels_speak_of_alerts_that_exist():
    """An alert named in a panel's description is one of the rules."""
    told = " ".join(panel.get("description", "") for panel in PANELS)
    alerts = {rule["alert"] for rule in RULES}
    assert set(re.findall(r"\bAims\w+", told)) <= alerts


def test_the_memory_alert_knows_the_limit():
    """AimsMemoryNearLimit and the dashboard count from the unit's MemoryMax."""
    limit = mebibytes(unit("aims-server.service")["MemoryMax"][0])
    (rule,) = (rule for rule in RULES if rule["alert"] == "AimsMemoryNearLimit")
    for expression in (rule["expr"], "\n".join(DASHBOARD_EXPRESSIONS)):
        factor = re.search(r"(\d+) \* 1024 \* 1024 \* 1024", expression)
        assert factor
        assert int(factor[1]) * 1024 == limit


def test_the_dashboard_has_its_rows_in_order():
    """Its rows go from what students notice down to causes."""
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == [
        *("Now", "Rate", "Errors", "Latency", "Cache", "Sharing", "Platform"),
        *("Breaker", "Limits", "Loop lag", "Memory", "Workers"),
    ]


def test_panels_lie_beside_each_other():
    """Ids are unique, and no panel covers another or leaves the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize(
    "panel",
    [panel for panel in PANELS if panel["type"] != "row"],
    ids=lambda panel: panel["title"],
)
def test_a_panel_explains_itself(panel: dict[str, Any]):
    """Each panel has a sentence, queries of distinct names, and the chosen source."""
    assert panel["description"].endswith(".")
    names = [target["refId"] for target in panel["targets"]]
    assert len(set(names)) == len(names) > 0
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_grafana_finds_the_dashboard_and_its_source():
    """compose mounts the dashboard where the provider looks for it."""
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    mounts = dict(
        volume.split(":")[:2]
        for volume in services["grafana"]["volumes"]
        if volume.startswith("./")
    )
    (provider,) = yaml.safe_load((CONF / "grafana-provider.yml").read_text())[
        "providers"
    ]
    (source,) = yaml.safe_load((CONF / "grafana-datasource.yml").read_text())[
        "datasources"
    ]
    dashboard = Path(mounts["./conf/grafana-dashboard.json"])
    assert str(dashboard.parent) == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
