"""The gateway is killed with notebooks open; all of them work on without a click."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest


@pytest.mark.timeout(180)
async def test_three_notebooks_outlive_a_killed_gateway(user, objects, demo) -> None:
    """One busy, one parked, one idle: none loses its kernel, and the busy one is not suspended."""
    ada = await user(0)
    busy = await ada.open_notebook("busy-kill.ipynb", "python3-cpu")
    parked = await ada.open_notebook("parked-kill.ipynb", "python3-cpu")
    used = await ada.open_notebook("used-kill.ipynb", "python3-cpu")
    await used.run("kept = 1")
    await busy.run("import time")
    long = await busy.submit("for n in range(24):\n    time.sleep(0.5)\nprint('finished')")
    await busy.until(long, lambda r: r.of_type("execute_input"), what="running")
    os.kill(demo.pid_of("gateway"), signal.SIGKILL)
    await asyncio.sleep(0.5)
    clicked = await used.submit("print('clicked while away', kept)")
    await used.finish(clicked, timeout=40)
    assert clicked.text == "clicked while away 1\n"
    first = await parked.run("print('parked works')", timeout=60)
    assert first.text == "parked works\n"
    await busy.finish(long, timeout=60)
    assert long.status in ("ok", "error")
    if long.status == "error":
        assert "may have run" in str(long.outputs)
    else:
        assert long.text == "finished\n"
    status = (await objects.kernel(busy.kernel_id))["status"]
    assert status["incarnation"] == 1, "the busy one was not suspended"
    assert (await busy.run("print('and on')")).text == "and on\n"
