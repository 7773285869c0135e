"""A demo of one's own, started by the README's command and ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_LIMIT = 240.0
"""Seconds within which a demo must be ready, on two busy cores."""


@dataclass(slots=True)
class RunningDemo:
    """A demo process and what it wrote to demo.json."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    info: dict[str, Any]

    def pid_of(self, name: str) -> int:
        """The process id of one of the demo's parts, such as ``gateway``."""
        return int((self.state_dir / "run" / f"{name}.pid").read_text())

    def log_of(self, name: str) -> str:
        """What one of the demo's parts has logged."""
        return (self.state_dir / "logs" / f"{name}.log").read_text()


def launch(state_dir: Path, **settings: object) -> subprocess.Popen[bytes]:
    """Start a demo and return at once."""
    env = {**os.environ, "STATE_DIR": str(state_dir), **{k: str(v) for k, v in settings.items()}}
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    log = (state_dir.parent / f"{state_dir.name}.terminal").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "local_cluster.demo"],
            env=env,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_until_ready(process: subprocess.Popen[bytes], state_dir: Path, limit: float = READY_LIMIT) -> RunningDemo:
    """Wait for demo.json."""
    ready, deadline = state_dir / "demo.json", time.monotonic() + limit
    terminal = state_dir.parent / f"{state_dir.name}.terminal"
    while not ready.exists():
        if process.poll() is not None:
            raise AssertionError(f"the demo ended with {process.returncode}:\n{terminal.read_text()[-4000:]}")
        if time.monotonic() > deadline:
            stop(process)
            raise AssertionError(f"the demo was not ready within {limit:.0f} s:\n{terminal.read_text()[-4000:]}")
        time.sleep(0.1)
    return RunningDemo(process, state_dir, json.loads(ready.read_text()))


def stop(process: subprocess.Popen[bytes], limit: float = 60) -> int:
    """End a demo as Ctrl-C does and return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    return process.returncode


@contextmanager
def running_demo(state_dir: Path, **settings: object) -> Iterator[RunningDemo]:
    """A ready demo for the length of a block."""
    process = launch(state_dir, **settings)
    try:
        yield wait_until_ready(process, state_dir)
    finally:
        stop(process)
