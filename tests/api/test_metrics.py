"""What Prometheus reads."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import requests
from prometheus_client.parser import text_string_to_metric_families

from schemas.jobs import ImportRoster
from tests.api.conftest import Books, Client, District, Serve
from workers.port import ring_on

PATH = "/metrics"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_not_by_address(
    hub: Client, admin: str, north: District
) -> None:
    for number in range(3):
        hub.get(f"/ims/oneroster/rostering/v1p2/users/person-{number}", north.key)
    hub.get("/no/such/address", north.key)
    hub.ask("BREW", "/health")
    text = hub.get(PATH, admin).text
    assert "person" not in text
    assert "such" not in text
    found = samples(text)
    route = "/ims/oneroster/rostering/v1p2/users/{sourced_id}"
    labels = (("method", "GET"), ("route", route), ("status", "404"))
    assert found["rosterhub_http_requests_total", labels] == 3
    assert found["rosterhub_http_request_duration_seconds_count", labels] == 3
    unmatched = (("method", "GET"), ("route", "unmatched"), ("status", "404"))
    assert found["rosterhub_http_requests_total", unmatched] == 1


def test_what_waits_is_measured(
    hub: Client, admin: str, north: District, books: Books, redis_url: str
) -> None:
    books.run(north.tenant_id, next_run_at=datetime.now(UTC) - timedelta(seconds=90))
    books.run(north.tenant_id, state="failed", finished_at=datetime.now(UTC))
    ring_on(redis_url)(ImportRoster(tenant_id=north.tenant_id, run_id=uuid4()))
    found = samples(hub.get(PATH, admin).text)
    assert found["rosterhub_queue_depth", (("queue", "imports"),)] == 1
    assert found["rosterhub_queue_depth", (("queue", "maintenance"),)] == 0
    assert 89 < found["rosterhub_oldest_waiting_run_seconds", (("kind", "import"),)] < 120
    assert found["rosterhub_runs", (("kind", "import"), ("state", "queued"))] == 1
    assert found["rosterhub_runs", (("kind", "import"), ("state", "failed"))] == 1


def test_what_waits_to_be_delivered_is_measured(
    hub: Client, admin: str, north: District, books: Books
) -> None:
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute(
            "with hook as (insert into webhooks (tenant_id, id, url, secret, created_by)"
            " values (%(t)s, gen_random_uuid(), '', '', '') returning id), event as ("
            " insert into webhook_events (tenant_id, id, sequence, type, body, created_at)"
            " select %(t)s, gen_random_uuid(), n, '', '', now() from generate_series(1, 3) as n"
            " returning id, sequence)"
            " insert into webhook_deliveries"
            " (tenant_id, webhook_id, event_id, sequence, state, next_at)"
            " select %(t)s, hook.id, event.id, sequence,"
            " (array['waiting', 'waiting', 'delivered'])[sequence],"
            " now() - make_interval(secs => 90 * sequence - 90) from hook, event",
            {"t": north.tenant_id},
        )
    found = samples(hub.get(PATH, admin).text)
    assert found["rosterhub_webhook_deliveries", (("state", "waiting"),)] == 2
    assert found["rosterhub_webhook_deliveries", (("state", "sending"),)] == 0
    assert 89 < found["rosterhub_oldest_waiting_delivery_seconds", ()] < 120


def test_metrics_are_for_administrators(hub: Client, north: District) -> None:
    assert hub.get(PATH, north.key).status_code == 403
    assert hub.get(PATH).status_code == 401


def test_all_processes_add_up_also_those_that_ended(serve: Serve, admin: str) -> None:
    server = serve(gateway_processes=2, redis_url="redis://127.0.0.1:1/0")
    pids: set[int] = set()
    asked = 0
    while len(pids) < 2:
        pids.add(requests.get(f"{server.url}/health", timeout=5).json()["process"])
        asked += 1
    os.kill(pids.pop(), signal.SIGKILL)
    time.sleep(1.5)
    text = server.request("GET", PATH, admin).text
    labels = (("method", "GET"), ("route", "/health"), ("status", "200"))
    assert samples(text)["rosterhub_http_requests_total", labels] == asked
    assert "rosterhub_queue_depth" not in text
    assert "rosterhub_runs" in text
