"""What comes from the object store is what was uploaded, or nothing."""

import hashlib
import subprocess
import sys
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from workers.objects import Damaged, fetched, open_store

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
    path = tmp_path / "upload"
    with fetched(store, "whole", path, size=len(BODY), sha256=HASH) as proven:
        assert path.read_bytes() == BODY
        proven()


UNLIKE = [
    pytest.param(len(BODY) + 1, HASH, id="another size"),
    pytest.param(len(BODY), hashlib.sha256(b"").digest(), id="another hash"),
]


@pytest.mark.parametrize(("size", "sha256"), UNLIKE)
def test_who_asks_is_told_that_it_is_damaged(
    store: ObjectStore, tmp_path: Path, size: int, sha256: bytes
) -> None:
    with fetched(store, "whole", tmp_path / "upload", size=size, sha256=sha256) as proven:
        with pytest.raises(Damaged):
            proven()
        with pytest.raises(Damaged):
            proven()


@pytest.mark.parametrize(("size", "sha256"), UNLIKE)
def test_what_the_reader_stumbles_over_is_the_damage(
    store: ObjectStore, tmp_path: Path, size: int, sha256: bytes
) -> None:
    with (
        pytest.raises(Damaged),
        fetched(store, "whole", tmp_path / "upload", size=size, sha256=sha256),
    ):
        raise EOFError


def test_over_a_whole_one_the_reader_stumbles_itself(store: ObjectStore, tmp_path: Path) -> None:
    with (
        pytest.raises(EOFError),
        fetched(store, "whole", tmp_path / "upload", size=len(BODY), sha256=HASH),
    ):
        raise EOFError


def test_a_missing_upload_is_damaged(store: ObjectStore, tmp_path: Path) -> None:
    with (
        pytest.raises(Damaged),
        fetched(store, "missing", tmp_path / "upload", size=len(BODY), sha256=HASH),
    ):
        pytest.fail("there is nothing to read")


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
