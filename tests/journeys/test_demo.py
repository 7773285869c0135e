"""The demo as a program: its file, its end, its violent end, and two of them side by side."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path

import psutil
import pytest

from tests.support.demo import launch, running_demo, stop, wait_until_ready


def processes_of(state_dir: Path) -> list[str]:
    """Every process that names this state directory in its arguments or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(state_dir) in word for word in words):
            found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
    return found


def listening(port: int) -> bool:
    """Whether anybody takes connections at a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def none_left(state_dir: Path, within: float) -> None:
    """Wait until no process of a demo is left."""
    for _ in range(int(within * 5)):
        if not processes_of(state_dir):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"left after the demo: {processes_of(state_dir)}")


@pytest.mark.timeout(400)
async def test_two_demos_side_by_side_end_without_a_trace_and_a_killed_one_starts_again(tmp_path: Path, demo) -> None:
    """The journeys' own demo is the first; Ctrl-C and kill -9 both leave nothing."""
    state = tmp_path / "second"
    before = set(Path("/tmp").iterdir())
    with running_demo(state, USERS=1, GPUS=1) as second:
        assert stat.S_IMODE((state / "demo.json").stat().st_mode) == 0o600
        assert set(second.info) >= {
            "hub_url",
            "gateway_url",
            "kubeconfig",
            "namespace",
            "users",
            "admin_token",
            "idle_timeout_seconds",
            "gpus",
        }
        assert second.info["hub_url"] != demo.info["hub_url"]
        port = int(second.info["hub_url"].split(":")[2].split("/")[0])
        assert listening(port)
        assert await asyncio.to_thread(stop, second.process) == 0
        await none_left(state, within=10)
        assert not listening(port)
    assert {p.name for p in set(Path("/tmp").iterdir()) - before if "elastic" in p.name} == set()

    third = launch(state, USERS=1, GPUS=1)
    await asyncio.to_thread(wait_until_ready, third, state)
    third.send_signal(signal.SIGKILL)
    third.wait(10)
    await none_left(state, within=15)
    with running_demo(state, USERS=1, GPUS=1) as fourth:
        assert fourth.info["gpus"] == 1
