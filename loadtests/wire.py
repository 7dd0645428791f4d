"""Load on a server: `wrk` where it is on the PATH, a small client of our own where it is not.

`wrk` (Debian: `apt install wrk`) takes a third of a core for what our client takes a whole one for,
so figures of the latter are lower than what the server can do; the bench says which it was.
"""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

SCRIPT = """
local paths = {{{paths}}}
local number = 0
request = function()
  number = number % #paths + 1
  return wrk.format("GET", paths[number])
end
done = function(summary, latency, requests)
  local wrong = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "seconds": %f, "p95": %f, "wrong": %d}}\\n', summary.requests,
    summary.duration / 1e6, latency:percentile(95) / 1e3,
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: `p95` in milliseconds, `wrong` are errors and answers from 400."""

    requests: int
    seconds: float
    p95: float
    wrong: int

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return self.requests / self.seconds


def has_wrk() -> bool:
    """Whether `wrk` can be run."""
    return shutil.which("wrk") is not None


def load(
    base: str, paths: Sequence[str], headers: Mapping[str, str], clients: int, seconds: int
) -> Load:
    """Ask for these paths in turns, so many clients at a time, each as fast as it is answered."""
    if has_wrk():
        return with_wrk(base, paths, headers, clients, seconds)
    return asyncio.run(with_own(base, paths, headers, clients, seconds))


def with_wrk(
    base: str, paths: Sequence[str], headers: Mapping[str, str], clients: int, seconds: int
) -> Load:
    """The same, by wrk."""
    with TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        script.write_text(SCRIPT.format(paths=", ".join(map(json.dumps, paths))), encoding="utf-8")
        argv = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", f"-s{script}"]
        for name, value in headers.items():
            argv += ["-H", f"{name}: {value}"]
        done = subprocess.run([*argv, base], check=True, capture_output=True, text=True)  # noqa: S603  # ours
    return Load(**json.loads(done.stdout.strip().rpartition("\n")[2]))


async def with_own(
    base: str, paths: Sequence[str], headers: Mapping[str, str], clients: int, seconds: int
) -> Load:
    """The same, by this process."""
    end, times, wrong = time.perf_counter() + seconds, [0.0], 0
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "bench", **headers}.items())
    number = 0

    async def client() -> None:
        nonlocal number, wrong
        where = urlsplit(base)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        while time.perf_counter() < end:
            path, number = paths[number % len(paths)], number + 1
            began = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\n{told}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, length = head.partition(b"content-length:")
            await reader.readexactly(int(length.split(b"\r\n", 1)[0] or b"0"))
            wrong += head.split(b" ", 2)[1] >= b"400"
            times.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    times.sort()
    return Load(len(times) - 1, float(seconds), times[len(times) * 95 // 100] * 1000, wrong)
