"""Rules, dashboard and scrape configuration of docker/, as far as that goes without a stack; tests/e2e asks one."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.fixtures import dashboards
from tests.fixtures.documents import ROOT
from tests.fixtures.prometheus import PROMTOOL

QUERIES = [*dashboards.rules(), *dashboards.panels()]
PAGE = (ROOT / "docs" / "monitoring-setup.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
def test_promtool_takes_rules_and_configuration() -> None:
    for check in (["rules", str(dashboards.RULES)], ["config", "--syntax-only", str(dashboards.CONFIG)]):
        done = subprocess.run([str(PROMTOOL), "check", *check], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
def test_a_promoted_candidates_latencies_are_counted_under_both_its_names(tmp_path: Path) -> None:
    def bucket(application: str, le: str, each_minute: int) -> dict[str, str]:
        labels = f'application="{application}", le="{le}"'
        return {"series": f"envoy_hotswap_hotswap_latency_bucket{{{labels}}}", "values": f"0+{each_minute}x10"}

    of_model = 'environment="Production", model="fraud", version="2.0.0"'
    told = [
        {"series": f'hotswap_application_info{{application="app", {of_model}}}', "values": "1x10"},
        *(bucket("app@fallback", le, 60) for le in ("1000", "2000", "+Inf")),
        *(bucket("app", le, each) for le, each in (("1000", 0), ("2000", 60), ("+Inf", 60))),
    ]
    wanted = {
        "expr": "model:hotswap_latency_seconds:p99_5m",
        "eval_time": "10m",
        "exp_samples": [{"labels": f"model:hotswap_latency_seconds:p99_5m{{{of_model}}}", "value": 0.00198}],
    }
    case = {"interval": "1m", "input_series": told, "promql_expr_test": [wanted]}
    file = tmp_path / "latency.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(dashboards.RULES)], "evaluation_interval": "1m", "tests": [case]})
    )
    done = subprocess.run([str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_every_query_asks_for_a_metric_that_the_page_explains(query: dashboards.Query) -> None:
    assert query.metrics or query.expression.startswith("up{")
    for name in query.metrics - dashboards.recorded():
        assert f"`{name}`" in PAGE, f"docs/monitoring-setup.md says nothing of {name}"


def test_every_alert_says_what_is_wrong_and_the_page_what_to_do() -> None:
    for group in yaml.safe_load(dashboards.RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["summary"]
                assert rule["labels"]["severity"] in {"page", "ticket"}
                assert f"| `{rule['alert']}` |" in PAGE


def test_every_metric_of_ours_is_on_the_page() -> None:
    told = (ROOT / "hotswap" / "persistence" / "monitoring" / "gauges.py").read_text() + (
        ROOT / "api" / "scraping.py"
    ).read_text()
    names = set(re.findall(r'"(hotswap_[a-z_]+)"', told))
    assert len(names) > 15
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_the_dashboard_stands_on_its_datasource() -> None:
    dashboard = json.loads(dashboards.DASHBOARD.read_text())
    provisioned = ROOT / "docker" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    known = {each["uid"] for each in yaml.safe_load(provisioned.read_text())["datasources"]}
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert used <= known
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
