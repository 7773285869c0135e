"""Idle kernels give their pod back; busy ones are left alone."""

from __future__ import annotations

import asyncio
from time import monotonic

from tests.support.waiting import eventually

POD_GONE_LIMIT = 8.0


async def test_an_idle_kernel_gives_its_pod_back_with_the_tab_open(user, objects, demo) -> None:
    """Pod gone within 8 s of the idle time, same kernel id, WebSocket open."""
    ada = await user(0)
    notebook = await ada.open_notebook("idle.ipynb", "python3-1-gpu")
    await notebook.run("x = 1")
    ended = monotonic()

    async def gone() -> bool:
        return not await objects.kernel_pods(notebook.kernel_id)

    idle = demo.info["idle_timeout_seconds"]
    await eventually(gone, within=idle + POD_GONE_LIMIT, what="the pod gone")
    assert monotonic() - ended >= idle - 1, "not before its time"
    assert notebook.connected
    status = await eventually(lambda: suspended(objects, notebook.kernel_id), within=3, what="Suspended")
    assert status["reason"] == "Idle"
    listed = await ada.call("GET", f"api/kernels/{notebook.kernel_id}")
    assert listed["id"] == notebook.kernel_id


async def suspended(objects, name):
    """The status of a suspended kernel, else None."""
    status = (await objects.kernel(name))["status"]
    return status if status["phase"] == "Suspended" else None


async def test_a_cell_that_is_busy_for_longer_than_the_idle_time_is_left_alone(user, objects, demo) -> None:
    """A long computation is not idleness."""
    ada = await user(0)
    notebook = await ada.open_notebook("busy.ipynb", "python3-cpu")
    idle = demo.info["idle_timeout_seconds"]
    run = await notebook.run(f"import time; time.sleep({idle + 6}); print('done')", timeout=idle + 40)
    assert run.text == "done\n"
    assert (await objects.kernel(notebook.kernel_id))["status"]["incarnation"] == 1


async def test_watching_completing_and_reconnecting_are_not_activity(user, objects, demo) -> None:
    """A tab that only looks on does not keep the pod."""
    ada = await user(0)
    notebook = await ada.open_notebook("watch.ipynb", "python3-cpu")
    await notebook.run("import os")
    idle = demo.info["idle_timeout_seconds"]
    deadline = monotonic() + idle + POD_GONE_LIMIT
    while await objects.kernel_pods(notebook.kernel_id):
        assert monotonic() < deadline, "looking on kept the pod"
        await notebook.ask("complete_request", {"code": "os.pa", "cursor_pos": 5})
        await notebook.ask("kernel_info_request", {})
        await notebook.close()
        await notebook.connect()
        await asyncio.sleep(0.5)
