"""A local copy of a collection, kept true by list and watch.

The copy is parsed values, not JSON. A broken or expired watch is followed by a new list, with a capped and
jittered pause; until that list has come, the old copy stands: no answer is never taken for "gone".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

from kernel_core.cluster.client import ApiError, Client, GoneError, Resource, UnavailableError

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=10)


class Informer(Generic[T]):
    """Follows one collection. Handlers are called with a name on every change, in the event loop."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str,
        parse: Callable[[Mapping[str, Any]], T],
        *,
        selector: Mapping[str, str] | None = None,
        key: Callable[[Mapping[str, Any]], str] = lambda item: str(item["metadata"]["name"]),
    ) -> None:
        self._client = client
        self._key = key
        self._resource = resource
        self._namespace = namespace
        self._parse = parse
        self._selector = dict(selector or {})
        self._items: dict[str, T] = {}
        self._versions: dict[str, int] = {}
        self._handlers: list[Callable[[str, T | None, T | None], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._listed = asyncio.Event()

    def on_change(self, handler: Callable[[str, T | None, T | None], None]) -> None:
        """Call ``handler(name, before, after)`` on every change; ``after`` is None when the object is gone."""
        self._handlers.append(handler)

    @property
    def synced(self) -> bool:
        """Whether the collection was listed at least once."""
        return self._listed.is_set()

    def get(self, name: str) -> T | None:
        """An object of the copy."""
        return self._items.get(name)

    def all(self) -> list[T]:
        """All objects of the copy."""
        return list(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    async def start(self, limit: timedelta) -> None:
        """Begin to follow, and wait for the first list, at most ``limit``."""
        self._task = asyncio.create_task(self._follow(), name=f"informer {self._resource.plural}")
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await self._listed.wait()
        except TimeoutError:
            await self.stop()
            raise UnavailableError(
                f"{self._resource.plural} in namespace {self._namespace} could not be listed within "
                f"{limit.total_seconds():.0f} s. Is the API server up, and does the ServiceAccount may list them?"
            ) from None

    async def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def learn(self, item: Mapping[str, Any]) -> T | None:
        """Take an object that a write has just returned, so that the next look sees one's own deed."""
        return self._take(item)

    def forget(self, name: str) -> None:
        """Take note that the API server said that an object does not exist."""
        self._drop(name)

    async def _follow(self) -> None:
        pause, clock = FIRST_PAUSE, asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except GoneError:
                log.debug("Watch of %s is too old, listing again", self._resource.plural)
            except (ApiError, UnavailableError) as error:
                log.warning("Cannot follow %s, trying again: %s", self._resource.plural, error)
            if clock() - began > LONGEST_PAUSE.total_seconds():
                pause = FIRST_PAUSE  # it worked for a while; a list alone does not show that a watch will work
            await asyncio.sleep(pause.total_seconds() * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not a secret
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _list(self) -> str:
        answer = await self._client.list(self._resource, self._namespace, self._selector)
        version: str = answer["metadata"]["resourceVersion"]
        present = set()
        for item in answer["items"]:
            present.add(self._key(item))
            self._take(item)
        for name in [name for name in self._items if name not in present and self._versions[name] <= int(version)]:
            self._drop(name)
        self._listed.set()
        return version

    async def _watch(self, version: str) -> str:
        async for event in self._client.watch(self._resource, self._namespace, self._selector, version):
            item = event["object"]
            version = item["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            if event["type"] == "DELETED":
                self._drop(self._key(item))
            else:
                self._take(item)
        return version

    def _take(self, item: Mapping[str, Any]) -> T | None:
        name, version = self._key(item), int(item["metadata"]["resourceVersion"])
        before = self._items.get(name)
        if before is not None and version <= self._versions[name]:
            return before
        try:
            after = self._parse(item)
        except (KeyError, ValueError, TypeError) as error:
            log.warning("%s %s cannot be used: %s", self._resource.plural, name, error)
            self._drop(name)
            return None
        self._items[name], self._versions[name] = after, version
        self._tell(name, before, after)
        return after

    def _drop(self, name: str) -> None:
        before = self._items.pop(name, None)
        self._versions.pop(name, None)
        if before is not None:
            self._tell(name, before, None)

    def _tell(self, name: str, before: T | None, after: T | None) -> None:
        for handler in self._handlers:
            try:
                handler(name, before, after)
            except Exception:  # a listener's fault must not end the following of everybody's objects; it is logged
                log.exception("%s %s: a change could not be handled", self._resource.plural, name)
