"""The Kubernetes API over HTTP, as plainly as it gets: JSON in, JSON out, and watches that end.

The node makes a handful of requests for each pod and is judged by how fast a pod starts, so no generated client
stands between it and the wire. Nothing here retries: callers know what a failure means to them.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
LINE_LIMIT = 16 * 1024 * 1024
"""Longest line of a watch: an object may be 1.5 MiB before it is written as JSON."""


class ApiError(Exception):
    """The API refused a request; `code` is its HTTP status and `reason` its own word for it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message or f"HTTP {code} {reason}")
        self.code = code
        self.reason = reason
        self.message = message


class ApiUnavailable(Exception):
    """No answer: nothing is known about what was asked."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API is and how to be let in."""

    server: str
    ca: str = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Credentials:
        """Read one of the kubeconfigs this package writes."""
        config = json.loads(path.read_text())
        cluster = config["clusters"][0]["cluster"]
        user = config["users"][0]["user"]
        import base64

        return cls(cluster["server"], base64.b64decode(cluster["certificate-authority-data"]).decode(), user["token"])


class Api:
    """One connection pool to the API; use it as a context manager."""

    def __init__(self, credentials: Credentials, user_agent: str = "local-cluster") -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cadata=self._credentials.ca)
        self._session = aiohttp.ClientSession(
            base_url=self._credentials.server,
            connector=aiohttp.TCPConnector(ssl=context, limit=64, keepalive_timeout=60),
            headers={"Authorization": f"Bearer {self._credentials.token}", "User-Agent": self._user_agent},
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=1 << 18,
            max_line_size=LINE_LIMIT,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        if self._session is None:
            raise RuntimeError("The API is used before `async with`.")
        return self._session

    async def get(self, path: str, **params: str) -> Json:
        """Read an object or a list."""
        return await self._request("GET", path, params=params)

    async def text(self, path: str) -> str:
        """Read something that is not JSON, such as /readyz."""
        try:
            async with self.session.get(path) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"GET {path}: {error!r}") from error
        if response.status >= 400:
            raise ApiError(response.status, response.reason or "", text[:500])
        return text

    async def post(self, path: str, body: Mapping[str, Any]) -> Json:
        """Create an object."""
        return await self._request("POST", path, body=body)

    async def put(self, path: str, body: Mapping[str, Any]) -> Json:
        """Replace an object."""
        return await self._request("PUT", path, body=body)

    async def patch(self, path: str, body: Mapping[str, Any], kind: str = STRATEGIC_MERGE, **params: str) -> Json:
        """Change an object."""
        return await self._request("PATCH", path, body=body, params=params, content_type=kind)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Json:
        """Delete an object; `body` are DeleteOptions."""
        return await self._request("DELETE", path, body=body)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            async with self.session.request(method, path, data=data, params=params, headers=headers) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {error!r}") from error
        if response.status >= 400:
            raise _error(response.status, response.reason or "", raw)
        answer: Json = json.loads(raw)
        return answer

    async def watch(self, path: str, resource_version: str, limit: timedelta, **params: str) -> AsyncIterator[Json]:
        """Yield events from a resource version on, until the server ends the watch.

        Raises ApiError for an in-band ERROR event (most often 410: list again) and ApiUnavailable if the
        connection breaks.
        """
        query = {
            **params,
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(limit.total_seconds())),
        }
        timeout = aiohttp.ClientTimeout(total=limit.total_seconds() + 30, sock_connect=10)
        try:
            async with self.session.get(path, params=query, timeout=timeout) as response:
                if response.status >= 400:
                    raise _error(response.status, response.reason or "", await response.read())
                while line := await response.content.readline(max_line_length=LINE_LIMIT):
                    event: Json = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _error(int(event["object"].get("code", 500)), "", line, event["object"])
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"watch {path}: {error!r}") from error


def _error(code: int, reason: str, raw: bytes, status: Json | None = None) -> ApiError:
    if status is None:
        try:
            parsed = json.loads(raw)
        except ValueError:
            parsed = None
        status = parsed if isinstance(parsed, dict) else {"message": raw[:500].decode(errors="replace")}
    return ApiError(code, str(status.get("reason") or reason), str(status.get("message") or ""))
