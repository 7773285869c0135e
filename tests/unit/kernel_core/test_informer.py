"""A copy that stays true when the API server does not: no answer is never taken for "gone"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from kernel_core.cluster.client import Client, Resource, UnavailableError
from kernel_core.cluster.informer import Informer
from tests.support.scripted_api import ScriptedApi, failing, item, listing, scripted_api, watching
from tests.support.waiting import eventually

THINGS = Resource("", "v1", "things")
LIMIT = timedelta(seconds=5)


def value_of(thing: Mapping[str, Any]) -> str:
    """What the informer keeps."""
    return str(thing.get("value", "")[:20])


async def quiet(request: web.Request) -> web.StreamResponse:
    """A watch in which nothing happens."""
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.sleep(30)
    return response


class Seen:
    """An informer and the changes it told of."""

    def __init__(self, informer: Informer[str]) -> None:
        self.informer = informer
        self.changes: list[tuple[str, str | None]] = []
        informer.on_change(lambda name, before, after: self.changes.append((name, after)))

    async def until(self, what: str, look: Any) -> None:
        """Wait for something to be so."""

        async def asked() -> bool:
            return bool(look())

        await eventually(asked, within=5, what=what, every=0.01)


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[ScriptedApi]:
    """The server."""
    async with scripted_api(tmp_path) as running:
        yield running


@asynccontextmanager
async def following(api: ScriptedApi) -> AsyncIterator[Seen]:
    """An informer at work."""
    async with Client(str(api.kubeconfig)) as client:
        seen = Seen(Informer(client, THINGS, "ns", value_of))
        try:
            await seen.informer.start(LIMIT)
            yield seen
        finally:
            await seen.informer.stop()


async def test_changes_are_followed_in_order_and_older_ones_ignored(api) -> None:
    """One's own write may be known before the watch tells of the one before it."""
    api.lists = [listing(5, item("a", 3, value="old"))]
    changed = [("MODIFIED", item("a", 6, value="new")), ("ADDED", item("b", 7)), ("DELETED", item("b", 8))]
    api.watches = [watching(*changed), quiet]
    async with following(api) as seen:
        await seen.until("b gone again", lambda: seen.changes[-1:] == [("b", None)])
        assert seen.informer.get("a") == "new"
        seen.informer.learn(item("a", 4, value="older"))
        assert seen.informer.get("a") == "new"


async def test_a_watch_that_is_too_old_is_followed_by_a_list_that_drops_what_is_gone(api) -> None:
    """410 comes inside the stream, after a 200."""
    api.lists = [listing(5, item("a", 3), item("b", 4)), listing(20, item("b", 4))]
    api.watches = [watching(then="gone"), quiet]
    async with following(api) as seen:
        await seen.until("a dropped", lambda: ("a", None) in seen.changes)
        assert seen.informer.get("b") is not None
        assert ("b", None) not in seen.changes


async def test_a_broken_connection_and_a_server_that_fails_take_nothing_away(api) -> None:
    """The copy stands until a list says otherwise."""
    api.lists = [listing(5, item("a", 3)), failing(503), failing(500), listing(9, item("a", 3), item("c", 8))]
    api.watches = [watching(then="break"), quiet]
    async with following(api) as seen:
        await seen.until("the new list", lambda: seen.informer.get("c") is not None)
        assert ("a", None) not in seen.changes
        assert api.asked.count("list") == 4


async def test_a_watch_that_is_never_allowed_is_asked_for_less_and_less_often(api) -> None:
    """Lists that work in between do not make the pause short again."""
    api.lists = [listing(5)]
    api.watches = [failing(403)]
    async with following(api):
        await asyncio.sleep(1.5)  # time in which a pause of 0.2 s would give seven
    assert api.asked.count("list") <= 4


async def test_an_object_of_any_size_comes_through(api) -> None:
    """aiohttp's line reader stops at 128 KiB."""
    api.lists = [listing(5)]
    api.watches = [watching(("ADDED", item("big", 6, value="x" * 400_000)), ("ADDED", item("small", 7))), quiet]
    async with following(api) as seen:
        await seen.until("both", lambda: len(seen.informer) == 2)
        assert api.asked == ["list", "watch"] or api.asked == ["list", "watch", "watch"]


async def test_a_listener_that_fails_does_not_end_the_following(api) -> None:
    """Everybody else's kernels hang on it."""
    api.lists = [listing(5)]
    api.watches = [watching(("ADDED", item("a", 6)), ("ADDED", item("b", 7))), quiet]
    async with Client(str(api.kubeconfig)) as client:
        informer = Informer(client, THINGS, "ns", value_of)
        seen: list[str] = []

        def fail(name: str, before: str | None, after: str | None) -> None:
            raise RuntimeError("a bug")

        informer.on_change(fail)
        informer.on_change(lambda name, before, after: seen.append(name))
        await informer.start(LIMIT)
        await eventually(lambda: _length(seen, 2), within=5, what="both told", every=0.01)
        await informer.stop()


async def _length(seen: list[str], length: int) -> bool:
    return len(seen) == length


async def test_a_first_list_that_does_not_come_is_an_error_that_says_what_was_wanted(api) -> None:
    """With its deadline."""
    api.lists, api.watches = [failing(500)], [quiet]
    async with Client(str(api.kubeconfig)) as client:
        informer = Informer(client, THINGS, "ns", value_of)
        with pytest.raises(UnavailableError, match="things in namespace ns could not be listed within 1 s"):
            await informer.start(timedelta(seconds=1))
        assert not informer.synced
