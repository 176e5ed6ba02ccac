"""Monitoring by REST: a model's policy, and the alerts that came of it."""

from datetime import UTC, datetime

from temporalio.worker import Worker

from hotswap.domain.monitoring import AlertKind, Finding
from hotswap.domain.vocabulary import Role
from hotswap.monitoring.drift import DriftMeter
from hotswap.monitoring.monitor import ActiveVersionMonitor
from hotswap.persistence.monitoring.alerts import PostgresAlerts
from hotswap.persistence.monitoring.drift import PostgresDriftRecords
from hotswap.persistence.monitoring.monitor import PostgresMonitorData
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of, made_active

DEFAULT = {"accuracyDrop": 0.05, "samples": 50, "onDegraded": "alert", "drift": True}


async def test_a_policy_is_replaced_as_a_whole_by_engineers(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    path = f"/api/v1/models/{world.model}/monitoring"
    assert (await world.get(path)).json() == {"model": world.model, **DEFAULT}
    engineer = world.token(Role.ML_ENGINEER)
    changed = await world.http.put(path, headers=engineer, json={"onDegraded": "rollback", "samples": 200})
    assert changed.status_code == 200, changed.text
    wanted = {"model": world.model, **DEFAULT, "onDegraded": "rollback", "samples": 200}
    assert changed.json() == wanted == (await world.get(path)).json()
    refused = await world.http.put(path, headers=engineer, json={"onDegraded": "panic"})
    assert error_of(refused) == (400, "VALIDATION_ERROR")
    assert "onDegraded" in refused.json()["error"]["details"][0]["field"]
    assert (await world.http.put(path, headers=world.token(Role.DATA_SCIENTIST), json={})).status_code == 403
    missing = await world.http.put("/api/v1/models/none/monitoring", headers=engineer, json={})
    assert error_of(missing) == (404, "MODEL_NOT_FOUND")


async def test_alerts_are_listed_open_and_over(world: ApiWorld, worker: Worker) -> None:
    deployment_id = await made_active(world, "1.0.0")
    monitor = ActiveVersionMonitor(
        PostgresMonitorData(world.sessions), DriftMeter(PostgresDriftRecords(world.sessions))
    )
    alerts = PostgresAlerts(world.sessions)
    (active,) = [each for each in await monitor.active() if each.model == world.model]
    now = datetime.now(UTC)
    await alerts.open(active, Finding(AlertKind.DRIFT, now, "amount has moved", {"distance": 0.4}), rolls_back=False)
    mine = {"model": world.model}
    listed = (await world.get("/api/v1/alerts", params={**mine, "open": "true"})).json()
    (seen,) = listed["items"]
    assert listed["total"] == 1
    assert (seen["kind"], seen["version"], seen["deploymentId"]) == ("Drifted", "1.0.0", deployment_id)
    assert (seen["message"], seen["numbers"], seen["resolvedAt"]) == ("amount has moved", {"distance": 0.4}, None)
    await alerts.resolve(seen["alertId"], "it is over")
    assert (await world.get("/api/v1/alerts", params={**mine, "open": "true"})).json()["total"] == 0
    over = (await world.get("/api/v1/alerts", params={**mine, "open": "false"})).json()
    assert over["items"][0]["resolution"] == "it is over"
    assert (await world.get("/api/v1/alerts", params={**mine, "environment": "Staging"})).json()["total"] == 0
    assert (await world.http.get("/api/v1/alerts")).status_code == 401
