"""A copy of a process is a process of its own: nothing that it does or draws is its parent's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BEGIN = """
import json, os, random, secrets, signal, sys, tempfile, time, uuid
from workers.forking import fork, settle
from workers.signals import asked_to_stop

def tell(**facts):
    os.write(1, json.dumps(facts).encode() + b"\\n")

def wait(copy):
    while (status := copy.poll()) is None:
        time.sleep(0.01)
    return status
"""


def told(script: str, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What a process and its copies have told, and their other words."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_no_two_copies_draw_the_same() -> None:
    drawn, _ = told("""
import dramatiq
random.seed(7)
settle()
def draw():
    message = dramatiq.Message(queue_name="q", actor_name="a", args=(), kwargs={}, options={})
    tell(drawn=[random.random(), secrets.token_hex(), str(uuid.uuid4()), message.message_id])
for copy in [fork(draw, ["copy"]) for _ in range(3)]:
    assert wait(copy) == 0
draw()
""")
    assert len(drawn) == 4
    for same in zip(*(each["drawn"] for each in drawn), strict=True):
        assert len({*same}) == 4


def test_each_copy_counts_for_itself(tmp_path: Path) -> None:
    """A value that the parent had begun is not counted again in its copies."""
    counted, _ = told(
        """
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.multiprocess import MultiProcessCollector
counter = Counter("things", "Things.")
counter.inc(100)
for copy in [fork(counter.inc, ["copy"]) for _ in range(3)]:
    assert wait(copy) == 0
counter.inc()
registry = CollectorRegistry()
MultiProcessCollector(registry)
tell(total=registry.get_sample_value("things_total"))
""",
        str(tmp_path),
    )
    assert counted == [{"total": 104}]


def test_a_copy_leaves_what_its_parent_has_yet_to_do() -> None:
    (facts,), words = told("""
import atexit, weakref
atexit.register(print, "the end", file=sys.stderr)
sys.stderr.write("said before")
def fail():
    raise ValueError("of the copy")
with tempfile.TemporaryDirectory() as folder:
    status = wait(fork(fail, ["copy"]))
    tell(status=status, there=os.path.isdir(folder))
""")
    assert facts == {"status": 1, "there": True}
    assert words.count("said before") == words.count("the end") == 1
    assert words.count("ValueError: of the copy") == 1


def test_a_copy_that_does_not_mind_signals_yet_ends_with_the_first() -> None:
    """The parent's way of minding them is not the copy's, which would go on as if never told."""
    (facts,), _ = told("""
stopping = asked_to_stop()
def work():
    time.sleep(20)
statuses = []
for _ in range(20):
    copy = fork(work, ["copy"])
    copy.send_signal(signal.SIGTERM)
    statuses.append(wait(copy))
tell(statuses=statuses, asked=stopping.is_set())
""")
    assert facts == {"statuses": [-15] * 20, "asked": False}


def test_a_copy_ends_with_its_parent_and_is_listed_under_its_words() -> None:
    (facts,), _ = told("""
import pathlib
def work():
    time.sleep(20)
def parent():
    copy = fork(work, ["rosterhub", "work", "--process", "x" * 5000])
    time.sleep(0.3)
    words = pathlib.Path(f"/proc/{copy.pid}/cmdline").read_bytes().decode()
    tell(pid=copy.pid, words=words.split("\\0")[:3], leads=os.getsid(copy.pid) == copy.pid)
    os.kill(os.getpid(), signal.SIGKILL)
assert wait(fork(parent, ["parent"])) == -9
""")
    assert facts["words"] == ["rosterhub", "work", "--process"]
    assert facts["leads"]
    status = Path(f"/proc/{facts['pid']}/stat")
    assert not status.exists() or b") Z" in status.read_bytes()


def test_a_word_that_cannot_be_loaded_is_no_end_of_the_supervisor() -> None:
    """A copy that fails is told of by its status; who called `fork` goes on."""
    (facts,), words = told("""
copies = [fork(lambda: __import__("nothing_of_that_name"), ["copy"]) for _ in range(2)]
tell(statuses=[wait(copy) for copy in copies])
""")
    assert facts == {"statuses": [1, 1]}
    assert words.count("ModuleNotFoundError") == 2
