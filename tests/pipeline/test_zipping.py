"""A zip that everybody can read, the same bytes each time, however large its entries are."""

import io
import zipfile
from itertools import chain
from pathlib import Path

import pytest

from pipeline import zipping
from pipeline.archive import package
from pipeline.limits import Limits
from pipeline.zipping import TOO_LARGE, Archive

FILES = {
    "orgs.csv": [b"sourcedId\r\n", b"a\r\n" * 1000],
    "users.csv": [b"x" * (5 << 20), bytes(range(256)) * 4000],
    "roles.csv": [],
}


def written(ceiling: int = TOO_LARGE) -> bytes:
    out = io.BytesIO()
    archive = Archive(out.write, ceiling)
    for name, pieces in FILES.items():
        archive.add(name, pieces)
    assert archive.close() == len(out.getvalue())
    return out.getvalue()


@pytest.mark.parametrize("ceiling", [TOO_LARGE, 5000, 1])
def test_what_was_put_in_comes_out_with_zip64_where_a_number_has_no_room(
    tmp_path: Path, ceiling: int
) -> None:
    data = written(ceiling)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: b"".join(pieces) for name, pieces in FILES.items()
        }
    assert (b"PK\x06\x06" in data) == (ceiling < TOO_LARGE)
    path = tmp_path / "package.zip"
    path.write_bytes(data)
    sources, findings = package(path, Limits(zip_ratio=100_000))
    assert findings == []
    read = {
        name: b"".join(chain.from_iterable(source.chunks())) for name, source in sources.items()
    }
    assert read["users.csv"] == b"".join(FILES["users.csv"])


def test_the_same_files_make_the_same_bytes_and_tell_no_time() -> None:
    assert written() == written()
    with zipfile.ZipFile(io.BytesIO(written())) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644
            assert entry.flag_bits == zipping.FOLLOWS
