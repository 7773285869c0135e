"""The Hub's idle culler stops user servers, but none whose kernel works; what it stops is found again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from local_cluster.demo.client import Person
from local_cluster.demo.objects import read_objects
from tests.support.demo import running_demo
from tests.support.waiting import eventually

CULL = 40
"""Seconds without activity after which the culler stops a server."""
BUSY = 60
"""Seconds that the cell runs, with no browser open: longer than the culler waits."""


@pytest.mark.timeout(400)
async def test_a_server_whose_kernel_works_is_not_culled_and_a_culled_one_finds_its_kernel(tmp_path: Path) -> None:
    """The browser is closed in both cases."""
    with running_demo(tmp_path / "state", USERS=1, GPUS=1, CULL_TIMEOUT=CULL, IDLE_TIMEOUT=600) as demo:
        account = demo.info["users"][0]
        async with (
            Person(demo.info["hub_url"], account["name"], account["password"]) as ada,
            read_objects(Path(demo.info["kubeconfig"]), demo.info["namespace"]) as objects,
        ):
            await ada.login()
            await ada.start_server()
            notebook = await ada.open_notebook("long.ipynb", "python3-cpu")
            run = await notebook.submit(f"import time; time.sleep({BUSY}); done = 'done'")
            await notebook.until(run, lambda r: r.of_type("execute_input"), what="running")
            started = monotonic()
            await notebook.close()
            while monotonic() - started < BUSY - 3:
                assert await ada._server_known(), f"culled {monotonic() - started:.0f} s into a working cell"
                await asyncio.sleep(2)

            async def culled() -> bool:
                return not await ada._server_known()

            await eventually(culled, within=CULL + 70, what="the idle server culled", every=1)

            async def holds_nothing() -> bool:
                return not await objects.kernel_pods(notebook.kernel_id)

            await eventually(holds_nothing, within=10, what="its idle kernel suspended")
            await ada.start_server()
            sessions = await ada.call("GET", "api/sessions")
            assert [s["kernel"]["id"] for s in sessions if s["path"] == "long.ipynb"] == [notebook.kernel_id]
            assert [k["metadata"]["name"] for k in await objects.kernels()] == [notebook.kernel_id]
