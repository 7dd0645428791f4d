"""The server of the hub for the bare handler: all its settings, none of its hooks."""

from pathlib import Path
from runpy import run_path

HOOKS = ("on_starting", "on_exit", "post_worker_init", "child_exit")

configured = run_path(str(Path(__file__).parents[1] / "deploy" / "gunicorn.conf.py"))
globals().update(
    {
        name: value
        for name, value in configured.items()
        if name not in HOOKS and not name.startswith("_")
    }
)
