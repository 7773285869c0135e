"""An HTTP server that answers as an API server may on a bad day; a real one cannot be asked to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def item(name: str, version: int, **more: Any) -> dict[str, Any]:
    """A small object."""
    return {"metadata": {"name": name, "resourceVersion": str(version)}, **more}


def listing(version: int, *items: dict[str, Any]) -> Answer:
    """A list."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": list(items)})

    return answer


def failing(code: int) -> Answer:
    """An error."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"reason": "Nope", "message": "not today"}, status=code)

    return answer


def watching(*events: tuple[str, dict[str, Any]], then: str = "end") -> Answer:
    """A watch with these events; ``then`` it ends, breaks in the middle of a line, or says that it is too old."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for kind, thing in events:
            await response.write(json.dumps({"type": kind, "object": thing}).encode() + b"\n")
        if then == "break":
            await response.write(b'{"type": "DELETED", "obj')
            assert request.transport is not None
            request.transport.abort()
        if then == "gone":
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        return response

    return answer


class ScriptedApi:
    """Gives its answers one after the other; the last one is given again and again."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.lists: list[Answer] = []
        self.watches: list[Answer] = []
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        kind = "watch" if "watch" in request.query else "list"
        self.asked.append(kind)
        script = self.watches if kind == "watch" else self.lists
        answer = script.pop(0) if len(script) > 1 else script[0]
        return await answer(request)


@asynccontextmanager
async def scripted_api(directory: Path) -> AsyncIterator[ScriptedApi]:
    """A server on a free port and the kubeconfig that leads to it."""
    api = ScriptedApi(directory / "kubeconfig")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    api.kubeconfig.write_text(json.dumps(config))
    try:
        yield api
    finally:
        await runner.cleanup()
