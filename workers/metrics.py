"""Every metric of the workers: name, unit and meaning, declared once."""

from typing import Literal, get_args

from prometheus_client import Counter, Histogram

Outcome = Literal["created", "updated", "unchanged", "deleted", "rejected", "touched"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

RUNS = Counter("rosterhub_runs_ended", "Runs that reached a final state.", ["kind", "state"])
ROWS = Counter(
    "rosterhub_import_rows", "Rows of imports by what became of them.", ["file", "outcome"]
)
EXPORTED = Counter("rosterhub_export_rows", "Rows of completed exports.", ["file"])
SECONDS = Histogram(
    "rosterhub_run_seconds",
    "Seconds from claim to end of one attempt.",
    ["kind"],
    buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
)
ATTEMPTS = Counter(
    "rosterhub_run_attempts", "Attempts at runs by how they ended.", ["kind", "outcome"]
)
PACKAGES = Counter("rosterhub_feed_packages", "Delta packages that were made ahead.", ["format"])

WEBHOOK_ATTEMPTS = Counter(
    "rosterhub_webhook_attempts", "Attempts to deliver an event, by how they ended.", ["outcome"]
)
WEBHOOK_SECONDS = Histogram(
    "rosterhub_webhook_seconds",
    "Seconds of one attempt to deliver an event.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)

RESTARTS = Counter(
    "rosterhub_worker_restarts", "Worker processes that died and were replaced.", ["kind"]
)
