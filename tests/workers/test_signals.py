"""A signal may come at any moment, also within the wait that it is to end."""

import signal
import subprocess
import sys
import time

WAIT = """
import sys
from workers.signals import asked_to_stop
stopping = asked_to_stop()
print("ready", flush=True)
for _ in range(int(sys.argv[1])):
    stopping.wait(0.0001)
    stopping.clear()
print("done", flush=True)
"""


def test_no_moment_of_a_wait_is_wrong_for_a_signal() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, "3000"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.0002)
        stuck = process.poll() is None
        process.kill()
        assert not stuck
        assert process.stdout.read() == "done\n"


ELSEWHERE = """
import signal, threading, time
from workers.signals import asked_to_stop, waited
stopping = asked_to_stop()

def hit():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)

threading.Thread(target=hit, daemon=True).start()
print(waited(stopping, 50), flush=True)
"""


def test_a_signal_that_another_thread_was_handed_ends_the_wait_too() -> None:
    begun = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], check=True, capture_output=True, text=True, timeout=45
    ).stdout
    assert said == "True\n"
    assert time.monotonic() < begun + 30
