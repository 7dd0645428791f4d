"""What comes from the object store is what was uploaded, or nothing."""

import hashlib
import subprocess
import sys
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from workers.objects import Damaged, fetch, open_store

BODY = b"sourcedId,name\r\n"
HASH = hashlib.sha256(BODY).digest()
MIB = 1024 * 1024
LARGE = 64 * MIB
FETCH = """
import sys
from pathlib import Path
from workers.objects import copy, open_store

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

store, target = open_store(sys.argv[1]), Path(sys.argv[2])
before = peak()
copy(store, "large", target)
print(peak() - before)
"""


@pytest.fixture(params=["on this disk", "elsewhere"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    here = request.param == "on this disk"
    store = open_store(str(tmp_path / "objects")) if here else MemoryStore()
    obstore.put(store, "whole", BODY)
    return store


def test_a_whole_upload_is_brought(store: ObjectStore, tmp_path: Path) -> None:
    fetch(store, "whole", tmp_path / "upload", size=len(BODY), sha256=HASH)
    assert (tmp_path / "upload").read_bytes() == BODY


@pytest.mark.parametrize(
    ("key", "size", "sha256"),
    [
        pytest.param("whole", len(BODY) + 1, HASH, id="another size"),
        pytest.param("whole", len(BODY), hashlib.sha256(b"").digest(), id="another hash"),
        pytest.param("missing", len(BODY), HASH, id="missing"),
    ],
)
def test_anything_else_is_damaged(
    store: ObjectStore, tmp_path: Path, key: str, size: int, sha256: bytes
) -> None:
    with pytest.raises(Damaged):
        fetch(store, key, tmp_path / "upload", size=size, sha256=sha256)


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own peak from /proc")
def test_a_large_upload_needs_no_more_memory_than_some_pieces(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    with (tmp_path / "objects" / "large").open("wb") as file:
        file.truncate(LARGE)
    said = subprocess.run(
        [
            *(sys.executable, "-c", FETCH),
            *(str(tmp_path / "objects"), str(tmp_path / "upload")),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert (tmp_path / "upload").stat().st_size == LARGE
    assert int(said) < LARGE / 2
