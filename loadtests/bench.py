"""`make bench`: what an import costs, as a ratio to a plain COPY in the same run.

Every figure is the median of some repetitions, each on a fresh database of a PostgreSQL with the
settings below and fsync on. The results go to .rosterhub/bench.json; the goals, with the words that
set them, are in goals.toml. These machines are shared: believe the ratios, not the seconds.
"""

import json
import math
import os
import platform
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import psycopg
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from loadtests import outflow as leaving
from loadtests.hub import fresh_database, running
from loadtests.plain import copy_seconds
from loadtests.reads import measured
from loadtests.rosters import District, write_package
from schemas.roster import ROSTERING

SERVER = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "256MB",
    "fsync": "on",
}
GOALS = tomllib.loads(Path(__file__).with_name("goals.toml").read_text(encoding="utf-8"))
FOLDER = Path(".rosterhub")
GATEWAY = {"ROSTERHUB_UPLOAD_MAX": str(4 << 30)}
MB = 1e6
CHANGED = 0.01  # of the pupils
FEW = 0.0012  # of them: of 100,000 users this changes about a thousand records
REST = 5.0  # seconds in which a worker does what a load leaves to do


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of bench.json."""

    name: str
    value: float
    unit: str
    compared_with: str = ""
    ratio: float | None = None

    @property
    def goal(self) -> Mapping[str, Any]:
        """The goal of that name."""
        goal: Mapping[str, Any] = GOALS.get(self.name, {})
        return goal

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        goal, inf, ratio = self.goal, math.inf, self.ratio
        if not goal:
            return None
        if ratio is None and ("ratio_at_most" in goal or "ratio_at_least" in goal):
            return False
        return goal.get("at_least", -inf) <= self.value <= goal.get("at_most", inf) and (
            ratio is None
            or goal.get("ratio_at_least", -inf) <= ratio <= goal.get("ratio_at_most", inf)
        )


@click.command
@click.option("--users", default=100_000, show_default=True)
@click.option("--enrollments", default=1_000_000, show_default=True)
@click.option("--repeat", default=3, show_default=True)
@click.option("--tenfold/--no-tenfold", default=True, help="Also a district ten times larger.")
@click.option("--reads/--no-reads", default=True, help="Also reads of the roster under load.")
@click.option("--imports/--no-imports", default=True, help="Also imports.")
@click.option("--outflow/--no-outflow", default=True, help="Also exports, feed and long polls.")
def main(
    users: int,
    enrollments: int,
    repeat: int,
    *,
    tenfold: bool,
    reads: bool,
    imports: bool,
    outflow: bool,
) -> None:
    """Measure, print, and write .rosterhub/bench.json."""
    district = District(
        users=users,
        schools=max(users // 500, 1),
        enrollments_per_student=per_student(users, enrollments),
    )
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="rosterhub-bench-", dir=FOLDER) as folder:
        bench = Bench(Path(folder), district)
        with (
            Postgres(FOLDER / "bench" / "postgres", settings=SERVER) as postgres,
            Redis(FOLDER / "bench" / "redis") as redis,
        ):
            figures = [*bench.imports(postgres.url, redis.url, repeat)] if imports else []
            if reads:
                figures += bench.reads(postgres.url, redis.url)
            if outflow:
                figures += bench.outflow(postgres.url, redis.url)
            if tenfold:
                figures += bench.tenfold(postgres.url, redis.url, figures)
            described = [describe(figure, postgres.url) for figure in figures]
    (FOLDER / "bench.json").write_text(json.dumps(described, indent=2), encoding="utf-8")


def per_student(users: int, enrollments: int) -> int:
    """Enrollments of each pupil, so that the file has about as many rows as asked for."""
    return max(round(enrollments / (users * 0.95)), 1)


class Bench:
    """The packages of one district, and what is measured with them."""

    def __init__(self, folder: Path, district: District) -> None:
        self.folder, self.district = folder, district

    def package(self, name: str, **other: float) -> Path:
        """A package of the district, or of what became of it, generated once."""
        path = self.folder / f"{name}.zip"
        if not path.exists():
            counts = write_package(path, replace(self.district, **other))  # type: ignore[arg-type]  # by name
            click.echo(f"{name}: {counts['users']:,} users, {counts['enrollments']:,} enrollments")
        return path

    def imports(self, server: str, redis: str, repeat: int) -> Iterator[Figure]:
        """First load, later pushes, and the plain COPY of the same text."""
        rounds = [self.round(server, redis) for _ in range(repeat)]
        plain = median(each["plain"] for each in rounds)
        for name in ("first_load", "unchanged_push", "changed_push", "preview"):
            seconds = median(each[name] for each in rounds)
            yield Figure(
                name=name,
                value=seconds,
                unit="s",
                compared_with=f"plain COPY, {plain:.2f} s",
                ratio=median(each[name] / each["plain"] for each in rounds),
            )
        written = max(each["written"] for each in rounds)
        yield Figure(name="unchanged_rows_written", value=written, unit="rows")
        wal = max(each["wal"] for each in rounds)
        yield Figure(name="unchanged_wal", value=wal, unit="MB")
        memory = max(each["memory"] for each in rounds)
        yield Figure(name="worker_memory", value=memory, unit="MiB")
        together = max(each["together"] for each in rounds)
        yield Figure(name="workers_memory", value=together, unit="MiB")
        rest = median(each["rest"] for each in rounds)
        yield Figure(name="workers_memory_at_rest", value=rest, unit="MiB")

    def round(self, server: str, redis: str) -> dict[str, float]:
        """One repetition on a fresh database."""
        first, again = self.package("first"), self.package("again", order=5)
        changed = self.package("changed", order=7, generation=1, mutations=CHANGED)
        url = fresh_database(server)
        with running(self.folder, url, redis, GATEWAY) as hub:
            plain = copy_seconds(url, first, self.district.profile)
            key, rest = hub.district("bench"), hub.memory.now()
            loaded, load = applied(hub.push(key, first))
            night(url)
            before = wal_position(url)
            repeated, push = applied(hub.push(key, again))
            wal = (wal_position(url) - before) / MB
            _, change = applied(hub.push(key, changed))
            night(url)
            forget_lines(url)
            # Back to what was: a generation differs from the first by so much, from others by more.
            _, preview = reviewed(hub.push(key, again, apply="review"))
            memory, together = hub.importer_memory(), hub.workers_memory()
        click.echo(
            f"  plain COPY {plain:.2f} s, first load {load:.2f} s, unchanged {push:.2f} s,"
            f" changed {change:.2f} s, preview {preview:.2f} s"
        )
        drop(server, url)
        return {
            "plain": plain,
            "first_load": load,
            "unchanged_push": push,
            "changed_push": change,
            "preview": preview,
            "written": written_rows(repeated) + (repeated["version"] != loaded["version"]),
            "wal": wal,
            "memory": memory,
            "together": together,
            "rest": rest,
        }

    def reads(self, server: str, redis: str) -> Iterator[Figure]:
        """Reads of the district under load."""
        for each in measured(self.folder, server, redis, self.package("first")):
            yield Figure(**each)

    def outflow(self, server: str, redis: str) -> Iterator[Figure]:
        """What leaves the district: exports, feed, and those who wait."""
        first = self.package("first")
        few = self.package("few", order=11, generation=1, mutations=FEW)
        for each in leaving.measured(self.folder, server, redis, first, few):
            yield Figure(**each)

    def tenfold(self, server: str, redis: str, figures: list[Figure]) -> Iterator[Figure]:
        """The peak memory with a district ten times larger: first load and unchanged push."""
        large = Bench(
            self.folder,
            replace(
                self.district, users=self.district.users * 10, schools=self.district.schools * 10
            ),
        )
        usual = next((each.value for each in figures if each.name == "worker_memory"), None)
        if usual is None:
            ((usual, _),) = self.memory_of(server, redis, self.package("first"))
        packages = large.package("tenfold"), large.package("tenfold-again", order=5)
        peaks = self.memory_of(server, redis, *packages)
        memory, together = (max(peak) for peak in zip(*peaks, strict=True))
        yield Figure(
            name="worker_memory_tenfold",
            value=memory,
            unit="MiB",
            compared_with=f"worker memory of the smaller district, {usual:.0f} MiB",
            ratio=memory / usual,
        )
        yield Figure(name="workers_memory_tenfold", value=together, unit="MiB")

    def memory_of(self, server: str, redis: str, *packages: Path) -> list[tuple[float, float]]:
        """The peaks while each package is imported: of the process that imports, and of all."""
        url = fresh_database(server)
        peaks = []
        with running(self.folder, url, redis, GATEWAY) as hub:
            key = hub.district("bench")
            for package in packages:
                hub.forget_peaks()
                _, seconds = applied(hub.push(key, package))
                peaks.append((hub.importer_memory(), hub.workers_memory()))
                click.echo(
                    f"  {package.stem}: {seconds:.1f} s, importer {peaks[-1][0]:.0f} MiB,"
                    f" all workers {peaks[-1][1]:.0f} MiB"
                )
        drop(server, url)
        return peaks


def applied(pushed: tuple[dict[str, Any], float]) -> tuple[dict[str, Any], float]:
    """The run, which must have been applied without a finding."""
    run, seconds = pushed
    if run["state"] != "applied" or run["findings"]:
        raise RuntimeError(f"{run['state']}: {run['findings']} {run['failure']}")
    return run, seconds


def reviewed(pushed: tuple[dict[str, Any], float]) -> tuple[dict[str, Any], float]:
    """The run, which must show what it would change."""
    run, seconds = pushed
    if run["state"] != "review" or not written_rows({"counts": run["preview"]}):
        raise RuntimeError(f"{run['state']}: {run['findings']} {run['failure']}")
    return run, seconds


def night(url: str) -> None:
    """What a day is, for the next package comes a day later: autovacuum has come round by then."""
    time.sleep(REST)
    with psycopg.connect(url, autocommit=True) as db:
        for entity in ROSTERING:
            for table in (entity.table, f"{entity.table}_history"):
                db.execute(SQL("vacuum (analyze) rosterhub.{}").format(Identifier(table)))


def forget_lines(url: str) -> None:
    """Let no line be known by heart, so that the next package is validated in full."""
    with psycopg.connect(url) as db:
        db.execute("delete from rosterhub.known_lines")


def written_rows(run: Mapping[str, Any]) -> int:
    """Records that the run has written."""
    return sum(
        counts.get(what, 0)
        for counts in run["counts"].values()
        for what in ("created", "updated", "deleted", "touched")
    )


def wal_position(url: str) -> int:
    """Bytes of WAL written so far."""
    with psycopg.connect(url) as db:
        row = db.execute("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").fetchone()
    return int(row[0]) if row else 0


def drop(server: str, url: str) -> None:
    """Remove a database of the bench."""
    with psycopg.connect(server, autocommit=True) as admin:
        name = Identifier(url.rsplit("/", 1)[1])
        admin.execute(SQL("drop database {} with (force)").format(name))


def describe(figure: Figure, server: str) -> dict[str, Any]:
    """Print a figure and make its line of bench.json."""
    with psycopg.connect(server) as db:
        postgresql = db.info.server_version // 10_000
    mark = {True: "met", False: "NOT met", None: ""}[figure.met]
    ratio = "" if figure.ratio is None else f"  ratio {figure.ratio:.2f}"
    click.echo(f"{figure.name:24} {figure.value:9.2f} {figure.unit}{ratio}  {mark}")
    return {
        **asdict(figure),
        "goal": figure.goal or None,
        "met": figure.met,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {
            "postgresql": postgresql,
            "python": platform.python_version(),
            "settings": SERVER,
            **{name: version(name) for name in ("polars", "psycopg", "dramatiq", "falcon")},
        },
    }


if __name__ == "__main__":
    main()
