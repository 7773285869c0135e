"""A person at a browser, as far as HTTP and WebSocket go: log in, open notebooks, run cells.

The tour and the journeys use it. It speaks to the Hub's public URL only, with the cookies and
tokens that a browser would have, and knows nothing about Kubernetes.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from time import monotonic
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

MAX_MESSAGE = 256 * 1024 * 1024
"""Largest WebSocket message that is taken, in bytes."""


class ClientError(RuntimeError):
    """Something that a person would have seen go wrong; the message says where."""


@dataclass(slots=True)
class Run:
    """What one execute request led to, in the order of arrival."""

    code: str
    msg_id: str
    sent: float
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    reply: dict[str, Any] | None = None
    idle: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def done(self) -> bool:
        """Whether the reply and the closing idle have both come."""
        return self.reply is not None and self.idle

    @property
    def seconds(self) -> float:
        """From the request to the last message, in seconds."""
        return (self.messages[-1][0] - self.sent) if self.messages else 0.0

    def of_type(self, *types: str) -> list[dict[str, Any]]:
        """The contents of all messages of these types."""
        return [m["content"] for _, m in self.messages if m["header"]["msg_type"] in types]

    @property
    def text(self) -> str:
        """All that was printed to stdout."""
        return "".join(c["text"] for c in self.of_type("stream") if c["name"] == "stdout")

    @property
    def waiting(self) -> list[tuple[float, str]]:
        """The lines that said what the cell waits for: (seconds since the request, text)."""
        return [
            (at - self.sent, m["content"]["data"].get("text/plain", ""))
            for at, m in self.messages
            if m["header"]["msg_type"] in ("display_data", "update_display_data") and is_waiting(m["content"])
        ]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What stands under the cell now, by the rules of clear_output and display ids."""
        shown: list[dict[str, Any]] = []
        for _, message in self.messages:
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "clear_output":
                shown.clear()
            elif kind == "update_display_data":
                name = content.get("transient", {}).get("display_id")
                for output in shown:
                    if output.get("transient", {}).get("display_id") == name:
                        output.update(content)
            elif kind in ("display_data", "execute_result", "stream", "error"):
                shown.append({"output_type": kind, **content})
        return shown

    @property
    def status(self) -> str:
        """``ok``, ``error`` or ``aborted`` once the reply is here, else ``none``."""
        return str(self.reply["content"]["status"]) if self.reply else "none"


def is_waiting(content: dict[str, Any]) -> bool:
    """Whether an output is the line that names what a cell waits for."""
    return bool(content.get("metadata", {}).get("elastic-jupyter", {}).get("waiting"))


class Notebook:
    """One open notebook: a session, its kernel and one WebSocket."""

    def __init__(self, person: Person, session: dict[str, Any]) -> None:
        self.person = person
        self.session = session
        self.session_id = uuid.uuid4().hex
        self.runs: dict[str, Run] = {}
        self.statuses: list[tuple[float, str]] = []
        self.unparented: list[dict[str, Any]] = []
        self.answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.on_input: Callable[[str], str] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def kernel_id(self) -> str:
        """The kernel's id, the same for its whole life."""
        return str(self.session["kernel"]["id"])

    @property
    def connected(self) -> bool:
        """Whether the WebSocket is open."""
        return self._socket is not None and not self._socket.closed

    async def connect(self) -> None:
        """Open the WebSocket, as JupyterLab does when a notebook's panel appears."""
        url = self.person.url(f"api/kernels/{self.kernel_id}/channels?session_id={self.session_id}")
        self._socket = await self.person.http.ws_connect(url, max_msg_size=MAX_MESSAGE, headers=self.person.xsrf)
        self._reader = asyncio.create_task(self._read(self._socket))

    async def cut(self) -> None:
        """Drop the connection without a word, as a failing network would."""
        socket, self._socket = self._socket, None
        if self._reader is not None:
            self._reader.cancel()
        if socket is not None:
            transport = socket._response.connection.transport if socket._response.connection else None
            if transport is not None:
                transport.abort()
            await socket.close()

    def stop_reading(self) -> None:
        """Keep the connection open and take nothing more from it, as a hung tab does."""
        if self._reader is not None:
            self._reader.cancel()

    async def close(self) -> None:
        """Close the WebSocket; the session and its kernel stay."""
        if self._reader is not None:
            self._reader.cancel()
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                self._take(json.loads(frame.data))
            elif frame.type is aiohttp.WSMsgType.BINARY:
                self._take(_unpack(frame.data))

    def _take(self, message: dict[str, Any]) -> None:
        now, kind = monotonic(), message["header"]["msg_type"]
        parent = message.get("parent_header") or {}
        if kind == "status":
            self.statuses.append((now, message["content"]["execution_state"]))
            if not parent:
                self.unparented.append(message)
        asked = parent.get("msg_id", "")
        if kind == "input_request" and self.on_input is not None:
            answer = self.on_input(message["content"]["prompt"])
            task = asyncio.create_task(self.send("input_reply", {"value": answer, "status": "ok"}, channel="stdin"))
            task.add_done_callback(lambda done: done.exception())
        if (future := self.answers.get(asked)) is not None and kind.endswith("_reply") and not future.done():
            future.set_result(message)
        if (run := self.runs.get(asked)) is not None:
            run.messages.append((now, message))
            if kind == "execute_reply":
                run.reply = message
            elif kind == "status" and message["content"]["execution_state"] == "idle":
                run.idle = True
            run.changed.set()

    async def send(self, kind: str, content: dict[str, Any], *, channel: str = "shell") -> str:
        """Send one message and return its id."""
        if self._socket is None:
            raise ClientError(f"notebook {self.session['path']}: not connected, {kind} was not sent")
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": self.session_id,
            "username": self.person.name,
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.3",
        }
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": channel,
            "buffers": [],
        }
        await self._socket.send_json(message)
        return str(header["msg_id"])

    async def ask(self, kind: str, content: dict[str, Any], *, timeout: float = 10) -> dict[str, Any]:
        """Send a request and return its reply's content, within ``timeout`` seconds."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        msg_id = await self.send(kind, content)
        self.answers[msg_id] = future
        try:
            async with asyncio.timeout(timeout):
                return dict((await future)["content"])
        except TimeoutError:
            raise ClientError(f"{kind} of kernel {self.kernel_id} had no reply within {timeout} s") from None
        finally:
            del self.answers[msg_id]

    async def submit(self, code: str) -> Run:
        """Send one cell and return at once."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
        sent = monotonic()
        run = Run(code, "", sent)
        run.msg_id = await self.send("execute_request", content)
        self.runs[run.msg_id] = run
        return run

    async def finish(self, run: Run, timeout: float = 60) -> Run:
        """Wait for a cell's reply and idle, at most ``timeout`` seconds."""
        await self.until(run, lambda r: r.done, timeout=timeout, what="its reply and idle")
        return run

    async def until(
        self, run: Run, condition: Callable[[Run], object], *, timeout: float = 30, what: str = "a condition"
    ) -> None:
        """Wait until ``condition`` holds for a cell, at most ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not condition(run):
                    run.changed.clear()
                    await run.changed.wait()
        except TimeoutError:
            seen = [m["header"]["msg_type"] for _, m in run.messages][-12:]
            raise ClientError(
                f"cell {run.code!r} of kernel {self.kernel_id} did not come to {what} within {timeout} s; "
                f"it saw {seen}, waiting lines {run.waiting}"
            ) from None

    async def run(self, code: str, timeout: float = 60) -> Run:
        """Run one cell to its end."""
        return await self.finish(await self.submit(code), timeout)


def _unpack(data: bytes) -> dict[str, Any]:
    """A message with binary buffers, in the WebSocket's older framing."""
    count = int.from_bytes(data[:4], "big")
    offsets = [int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, count + 1)] + [len(data)]
    parts = [data[start:end] for start, end in pairwise(offsets)]
    message: dict[str, Any] = json.loads(parts[0])
    message["buffers"] = parts[1:]
    return message


class Person:
    """One user of the Hub, with a cookie jar of their own."""

    def __init__(self, hub_url: str, name: str, password: str) -> None:
        self.hub_url = hub_url.rstrip("/")
        self.name = name
        self.password = password
        self.http: aiohttp.ClientSession = None  # type: ignore[assignment]  # made in __aenter__
        self.notebooks: list[Notebook] = []

    async def __aenter__(self) -> Self:
        jar = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for notebook in self.notebooks:
            await notebook.close()
        await self.http.close()

    def url(self, path: str) -> str:
        """A URL of this user's own server."""
        return f"{self.hub_url}/user/{quote(self.name)}/{path}"

    def _cookie(self, url: str, name: str) -> str:
        cookies = self.http.cookie_jar.filter_cookies(aiohttp.client.URL(url))
        return cookies[name].value if name in cookies else ""

    @property
    def xsrf(self) -> dict[str, str]:
        """The header that makes a request of a page's own script acceptable."""
        return {"X-XSRFToken": self._cookie(self.url("api"), "_xsrf"), "Referer": self.url("lab")}

    async def login(self) -> None:
        """Log in at the Hub's form."""
        login = f"{self.hub_url}/hub/login"
        async with self.http.get(login) as page:
            await page.read()
        form = {"username": self.name, "password": self.password, "_xsrf": self._cookie(login, "_xsrf")}
        async with self.http.post(login, data=form, allow_redirects=False) as answer:
            if answer.status != 302:
                raise ClientError(f"login of {self.name} at {login} answered {answer.status}, not a redirect")

    async def start_server(self, timeout: float = 60) -> float:
        """Ask for the user server and wait until JupyterLab answers; returns the seconds it took."""
        started = monotonic()
        async with self.http.get(f"{self.hub_url}/hub/spawn/{quote(self.name)}") as page:
            await page.read()
        try:
            async with asyncio.timeout(timeout):
                while not await self._lab_answers():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise ClientError(f"the server of {self.name} was not ready within {timeout} s") from None
        return monotonic() - started

    async def _lab_answers(self) -> bool:
        async with self.http.get(self.url("lab")) as page:
            body = await page.text()
            return page.status == 200 and "jupyter-config-data" in body

    async def stop_server(self, timeout: float = 30) -> None:
        """Stop the user server at the Hub, as the control panel's button does."""
        hub = f"{self.hub_url}/hub/"
        headers = {"X-XSRFToken": self._cookie(hub, "_xsrf"), "Referer": f"{hub}home"}
        api = f"{hub}api/users/{quote(self.name)}/server"
        async with self.http.delete(api, headers=headers) as answer:
            if answer.status not in (202, 204):
                raise ClientError(f"stop of {self.name}'s server answered {answer.status}: {await answer.text()}")
        async with asyncio.timeout(timeout):
            while await self._server_known():
                await asyncio.sleep(0.2)

    async def _server_known(self) -> bool:
        async with self.http.get(f"{self.hub_url}/hub/api/users/{quote(self.name)}") as answer:
            return bool((await answer.json()).get("servers"))

    async def call(self, method: str, path: str, body: object = None, *, ok: tuple[int, ...] = (200, 201, 204)) -> Any:
        """One REST call to the user's own server; returns the parsed answer."""
        async with self.http.request(method, self.url(path), json=body, headers=self.xsrf) as answer:
            text = await answer.text()
            if answer.status not in ok:
                raise ClientError(f"{method} {path} of {self.name} answered {answer.status}: {text[:500]}")
            return json.loads(text) if text else None

    async def kernelspecs(self) -> dict[str, str]:
        """What the launcher offers: kernelspec name to display name."""
        specs = (await self.call("GET", "api/kernelspecs"))["kernelspecs"]
        return {name: spec["spec"]["display_name"] for name, spec in specs.items()}

    async def save_notebook(self, path: str, cells: list[str] | None = None) -> None:
        """Write a notebook file with these cells."""
        content = {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{n}",
                    "metadata": {},
                    "outputs": [],
                    "source": code,
                    "execution_count": None,
                }
                for n, code in enumerate(cells or [""])
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        await self.call(
            "PUT", f"api/contents/{quote(path)}", {"type": "notebook", "format": "json", "content": content}
        )

    async def open_notebook(self, path: str, kernelspec: str, *, connect: bool = True) -> Notebook:
        """Open a notebook with a kernel of this kernelspec, as a click in the launcher does."""
        await self.save_notebook(path)
        body = {"path": path, "name": path.rsplit("/", 1)[-1], "type": "notebook", "kernel": {"name": kernelspec}}
        notebook = Notebook(self, await self.call("POST", "api/sessions", body))
        self.notebooks.append(notebook)
        if connect:
            await notebook.connect()
        return notebook


@asynccontextmanager
async def logged_in(hub_url: str, name: str, password: str) -> AsyncIterator[Person]:
    """A person whose JupyterLab is up."""
    async with Person(hub_url, name, password) as person:
        await person.login()
        await person.start_server()
        yield person
