"""A busy kernel keeps its user server from being culled, browser or not.

The Hub asks the server when it was last active; jupyter_server counts every setting that ends in ``_last_activity``.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from elastic_frontend.managers import ElasticMappingKernelManager

KEY = "elastic_frontend_last_activity"
INTERVAL = 20.0
"""Seconds between two looks; a server without kernels does not ask."""


class ActivityWatch:
    """Looks at the server's kernels as long as it runs."""

    def __init__(
        self, kernels: ElasticMappingKernelManager, settings: dict[str, Any], interval: float = INTERVAL
    ) -> None:
        self._kernels = kernels
        self._settings = settings
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, when the event loop runs."""
        from tornado.ioloop import IOLoop

        IOLoop.current().add_callback(self._begin)

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        first = True
        while True:
            if first or self._kernels.list_kernel_ids():
                models = await self._kernels.list_kernels()
                if any(model.get("execution_state") == "busy" for model in models):
                    self._settings[KEY] = datetime.now(UTC)
            first = False
            await asyncio.sleep(self._interval)
