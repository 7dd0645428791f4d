"""The bell, rung behind the answer: a hung Redis delays nobody.

The row is committed before anybody rings, so a ring that is lost or skipped costs latency only.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

import structlog

from schemas.jobs import Job
from workers.port import Ring

HANDS = 2
WAITING = 100  # rings that may wait; the reconciler rings for the rest

log = structlog.get_logger()


class Bell:
    """Rings in its own threads."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._hands = ThreadPoolExecutor(HANDS, thread_name_prefix="bell")
        self._room = BoundedSemaphore(WAITING)

    def ring(self, job: Job) -> None:
        """Ring soon; never waits, never fails."""
        if not self._room.acquire(blocking=False):
            log.warning("bell_skipped", kind=job.kind)
            return
        self._hands.submit(self._now, job)

    def _now(self, job: Job) -> None:
        try:
            self._ring(job)
        finally:
            self._room.release()

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """Let go of what still waits."""
        self._hands.shutdown(wait=False, cancel_futures=True)
