"""Staging beside a merge: it stops with the attempt that it works for."""

import threading
from typing import Any, cast
from uuid import uuid4

from pipeline.ahead import ahead
from pipeline.beside import Beside
from pipeline.claims import Claim


def test_who_stages_has_stopped_before_what_is_staged_is_dropped() -> None:
    staging = Beside(cast("Any", None), Claim(1, uuid4(), attempt=1, fence=1))
    staging.staged = cast("Any", ahead(iter(int, 1)))  # chunks without an end
    next(staging.staged)
    assert "ahead" in [thread.name for thread in threading.enumerate()]
    staging.close()
    assert "ahead" not in [thread.name for thread in threading.enumerate()]
