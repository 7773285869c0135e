"""A busy kernel keeps its user server from being culled, browser or not.

The Hub asks the server when it was last active; jupyter_server counts every setting that ends in ``_last_activity``.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from elastic_frontend.managers import ElasticMappingKernelManager

KEY = "elastic_frontend_last_activity"

log = logging.getLogger(__name__)


class ActivityWatch:
    """Looks at the server's kernels as long as it runs. The first look is also what adopts them after a restart."""

    def __init__(self, kernels: ElasticMappingKernelManager, settings: dict[str, Any], interval: float = 20.0) -> None:
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
        while True:
            try:
                await self.look()
            except Exception:  # one strange answer must not end the watch and cost a busy kernel its server
                log.warning("Looking for busy kernels failed, trying again", exc_info=True)
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """Note the time if a kernel is busy. A server that has no kernels, for sure, does not ask again."""
        if self._kernels.list_kernel_ids() or not self._kernels.answered:
            models = await self._kernels.list_kernels()
            if any(model.get("execution_state") == "busy" for model in models):
                self._settings[KEY] = datetime.now(UTC)
