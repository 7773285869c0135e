"""Events on pods, as a kubelet writes them. The same words again are counted, not written anew."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from kernel_core.cluster.client import EVENTS, ApiError, Client, UnavailableError
from local_cluster.node.container import now

log = logging.getLogger(__name__)

LONGEST_QUEUE = 500
LONGEST_MEMORY = 2000
"""Events whose repetitions are counted."""
LONGEST_MESSAGE = 1000


class Recorder:
    """Writes events one after another; what the API server does not take is forgotten."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._queue: asyncio.Queue[tuple[dict[str, Any], str, str, str, str]] = asyncio.Queue(LONGEST_QUEUE)
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_all(), name="events")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def record(self, pod: Mapping[str, Any], kind: str, reason: str, message: str, container: str = "") -> None:
        """Note an event; ``kind`` is Normal or Warning."""
        try:
            self._queue.put_nowait((dict(pod["metadata"]), kind, reason, message[:LONGEST_MESSAGE], container))
        except asyncio.QueueFull:
            log.warning("An event was left out, too many wait: %s %s", reason, pod["metadata"]["name"])

    async def _write_all(self) -> None:
        while True:
            meta, kind, reason, message, container = await self._queue.get()
            try:
                await self._write(meta, kind, reason, message, container)
            except (ApiError, UnavailableError) as error:
                log.debug("Event %s of pod %s was not taken: %s", reason, meta["name"], error)

    async def _write(self, meta: dict[str, Any], kind: str, reason: str, message: str, container: str) -> None:
        key = (meta["uid"], container, reason, message)
        if key in self._known:
            name, count = self._known[key]
            self._known[key] = (name, count + 1)
            patch = {"count": count + 1, "lastTimestamp": now()}
            await self._client.patch(EVENTS, meta["namespace"], name, patch)
            return
        name = f"{meta['name']}.{secrets.token_hex(8)}"
        about = {"apiVersion": "v1", "kind": "Pod", **{k: meta[k] for k in ("namespace", "name", "uid")}}
        if container:
            about["fieldPath"] = f"spec.containers{{{container}}}"
        event = {
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": about,
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
        }
        await self._client.create(EVENTS, meta["namespace"], event)
        while len(self._known) >= LONGEST_MEMORY:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (name, 1)
