"""Spawners that are made as the Hub makes them, with no API server behind them but those that tests start."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# read at import by the client library, so it cannot wait for a fixture
os.environ["KUBECONFIG"] = str(Path(__file__).with_name("nowhere.kubeconfig"))

from jupyterhub.objects import Server
from traitlets.config import Config

from elastic_spawner.spawner import ElasticSpawner

MakeSpawner = Callable[..., ElasticSpawner]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ELASTIC_GATEWAY_URL", "ELASTIC_HOME_MODE", "ELASTIC_HUB_SETTINGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def make_spawner() -> MakeSpawner:
    """Makes a spawner of user ada; keywords are traits set from configuration."""

    def make(*, user: str = "ada", server: str = "", config: Config | None = None, **traits: Any) -> ElasticSpawner:
        config = config or Config()
        for name, value in traits.items():
            config.ElasticSpawner[name] = value
        person = SimpleNamespace(
            name=user, escaped_name=user, id=1, url=f"/user/{user}/", server=Server(), groups=[], settings={}
        )
        spawner = ElasticSpawner(_mock=True, user=person, orm_spawner=_OrmSpawner(server), config=config)
        spawner.api_token = "token-of-this-server"
        return spawner

    return make


class _OrmSpawner(SimpleNamespace):
    def __init__(self, name: str) -> None:
        super().__init__(name=name, server=None, state={}, user_options={})


class ApiServerThatHangs:
    """Takes connections and requests and never answers."""

    def __init__(self) -> None:
        self.requests = 0

    async def __aenter__(self) -> ApiServerThatHangs:
        self._open: list[asyncio.StreamWriter] = []
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        while await reader.read(65536):
            self.requests += 1


class ApiServerThatRefuses:
    """Answers every request with the same status, as an API server does that lacks the resource or the right."""

    def __init__(self, status: int, message: str) -> None:
        self._status, self._message = status, message
        self.requests: list[str] = []

    async def __aenter__(self) -> ApiServerThatRefuses:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" HTTP")[0].decode())
        body = json.dumps({"kind": "Status", "code": self._status, "message": self._message}).encode()
        lines = [f"HTTP/1.1 {self._status} No", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def api_server_that_hangs() -> AsyncIterator[ApiServerThatHangs]:
    """An API server that never answers."""
    async with ApiServerThatHangs() as server:
        yield server


@pytest.fixture
async def api_server_without_the_resource() -> AsyncIterator[ApiServerThatRefuses]:
    """An API server in which nobody installed the CRDs."""
    async with ApiServerThatRefuses(404, "the server could not find the requested resource") as server:
        yield server


@pytest.fixture
async def api_server_that_forbids() -> AsyncIterator[ApiServerThatRefuses]:
    """An API server at which the Hub has no rights."""
    async with ApiServerThatRefuses(403, "jupyternotebooks is forbidden") as server:
        yield server
