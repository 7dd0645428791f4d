"""What the storms send: packages of an invented district, and a delta of one of its files."""

import csv
import io
import zipfile
from dataclasses import dataclass

from loadtests.rosters import District, write_package
from tests.acceptance.conftest import Client

COUNTED = "enrollments"
"""The collection whose total tells the versions apart."""


@dataclass(frozen=True)
class Push:
    """What is sent: a package, or one CSV."""

    name: str
    body: bytes
    entity: str | None = None
    mode: str | None = None

    def to(self, client: Client) -> str:
        return client.push(self.body, entity=self.entity, mode=self.mode)


def package(name: str, **district: object) -> Push:
    wanted: dict[str, object] = {
        "users": 1000,
        "schools": 3,
        "enrollments_per_student": 4,
        "guardians": 0.2,
    }
    out = io.BytesIO()
    write_package(out, District(**{**wanted, **district}))  # type: ignore[arg-type]  # by name
    return Push(name, out.getvalue())


def delta_of(push: Push) -> Push:
    """A delta of the enrollments: some end, some are deleted, some are new, some stay."""
    with zipfile.ZipFile(io.BytesIO(push.body)) as archive:
        text = archive.read(f"{COUNTED}.csv").decode()
    [header, *rows] = csv.reader(io.StringIO(text))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    for number, row in enumerate(rows):
        values = dict(zip(header, row, strict=True))
        values |= {"status": "active", "dateLastModified": "2026-06-01T00:00:00.000Z"}
        match number % 4:
            case 0:
                values["status"] = "tobedeleted"
            case 1:
                values["endDate"] = "2026-12-24"
            case 2:
                values["sourcedId"] = f"new-{number}"
        writer.writerow(values.values())
    return Push("a delta of one CSV", out.getvalue().encode(), COUNTED, "delta")
