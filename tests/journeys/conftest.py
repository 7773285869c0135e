"""One demo for all journeys: four users, eight GPUs, a short idle time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from local_cluster.demo.client import Person
from local_cluster.demo.objects import Objects, read_objects
from tests.support.demo import RunningDemo, running_demo

IDLE = 6
"""Idle time of the journeys' demo, in seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys may take longer than a test of one room."""
    for item in items:
        item.add_marker(pytest.mark.journey)
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(150))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """The running demo."""
    state = Path(tmp_path_factory.mktemp("journeys")) / "state"
    with running_demo(state, IDLE_TIMEOUT=IDLE, GPUS=8, USERS=4) as running:
        yield running


@pytest.fixture
async def objects(demo: RunningDemo) -> AsyncIterator[Objects]:
    """The cluster's objects."""
    async with read_objects(Path(demo.info["kubeconfig"]), demo.info["namespace"]) as reader:
        yield reader


@pytest.fixture
async def user(demo: RunningDemo) -> AsyncIterator[Callable[[int], Awaitable[Person]]]:
    """Logs a user in and has their JupyterLab up; their kernels are ended with the test."""
    async with AsyncExitStack() as stack:
        people: list[Person] = []

        async def log_in(number: int = 0) -> Person:
            account = demo.info["users"][number]
            person = await stack.enter_async_context(Person(demo.info["hub_url"], account["name"], account["password"]))
            await person.login()
            await person.start_server()
            people.append(person)
            return person

        yield log_in
        for person in people:
            for session in await person.call("GET", "api/sessions"):
                await person.call("DELETE", f"api/sessions/{session['id']}", ok=(204, 404, 410, 500))


@pytest.fixture
def quota(objects: Objects) -> Callable[..., AbstractAsyncContextManager[None]]:
    """A ResourceQuota for the length of a block."""

    @asynccontextmanager
    async def limited(**hard: str) -> AsyncIterator[None]:
        await objects.create_quota("journey", hard)
        try:
            yield
        finally:
            await objects.delete_quota("journey")

    return limited
