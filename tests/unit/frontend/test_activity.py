"""A busy kernel counts as its server's activity; an idle one does not."""

from __future__ import annotations

import asyncio

import pytest

from elastic_frontend.activity import KEY, ActivityWatch


class KernelsIn:
    """A kernel manager whose one kernel is in this state."""

    def __init__(self, state: str) -> None:
        self.state = state

    def list_kernel_ids(self) -> list[str]:
        return ["k"]

    async def list_kernels(self) -> list[dict[str, str]]:
        return [{"execution_state": self.state}]


@pytest.mark.parametrize(("state", "counts"), [("busy", True), ("idle", False), ("starting", False)])
async def test_only_a_busy_kernel_keeps_its_server(state: str, counts: bool) -> None:
    """By the setting that jupyter_server counts."""
    settings: dict[str, object] = {}
    watch = ActivityWatch(KernelsIn(state), settings, interval=0.01)  # type: ignore[arg-type]
    watch.start()
    await asyncio.sleep(0.1)
    assert (KEY in settings) is counts
    watch._task.cancel()
