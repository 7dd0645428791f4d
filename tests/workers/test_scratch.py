"""The folder of an attempt: gone with it, or when the next process starts."""

import subprocess
import sys
from pathlib import Path

from workers.scratch import PREFIX, scratch, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from workers.scratch import scratch

with scratch(Path(sys.argv[1])) as folder:
    (folder / "upload").write_text("names")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_ends_with_its_attempt(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        (folder / "upload").write_text("names")
        assert folder.name.startswith(PREFIX)
        assert folder.stat().st_mode & 0o077 == 0
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert [path.read_text() for path in tmp_path.glob("*/upload")] == ["names"]
    assert sweep(tmp_path) == 1
    assert [*tmp_path.iterdir()] == []


def test_a_folder_in_use_is_not_swept(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        assert sweep(tmp_path) == 0
        assert folder.is_dir()


def test_what_only_looks_like_a_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "another").mkdir()
    assert sweep(tmp_path) == 0
    assert len([*tmp_path.iterdir()]) == 4
