"""The Kubernetes API as plain JSON, with typed errors and a deadline on every call.

kubernetes_asyncio brings configuration, credentials and TLS. Its generated models are left aside: a watch over
thousands of objects would build them all, and what decides here are values of our own.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import config as kubernetes_config

from kernel_core.names import GROUP, VERSION

REQUEST_LIMIT = timedelta(seconds=15)
"""How long one request may take."""
WATCH_LIMIT = timedelta(seconds=290)
"""How long one watch lives before it is asked for anew; the server ends it, so nothing is lost."""

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class ApiError(Exception):
    """The API server refused a request. ``code`` is HTTP's, ``reason`` Kubernetes' one word."""

    def __init__(self, what: str, code: int, reason: str, message: str) -> None:
        super().__init__(f"{what}: {message or reason or code}")
        self.code = code
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """The object does not exist."""


class ConflictError(ApiError):
    """Somebody else changed the object first."""


class AlreadyExistsError(ConflictError):
    """The object exists."""


class ForbiddenError(ApiError):
    """Not allowed: a role, a quota, a limit range or an admission policy."""


class InvalidError(ApiError):
    """The object does not fit its schema, or breaks a rule of it."""


class GoneError(ApiError):
    """A watch asked for a past that the server no longer has: list again."""


class UnavailableError(Exception):
    """No answer, or none that says anything about the object. Nothing may be concluded from it."""


_BY_CODE: dict[int, type[ApiError]] = {
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
}


def error_for(what: str, code: int, body: Mapping[str, Any]) -> ApiError | UnavailableError:
    """The typed error for an answer that is not a success."""
    reason, message = str(body.get("reason", "")), str(body.get("message", ""))
    if code == 409 and reason == "AlreadyExists":
        return AlreadyExistsError(what, code, reason, message)
    if code == 429 or code >= 500:
        return UnavailableError(f"{what}: the API server answered {code}: {message or reason}")
    return _BY_CODE.get(code, ApiError)(what, code, reason, message)


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, as its URL has it."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The URL path of a collection or an object; an empty namespace is the whole cluster."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, f"namespaces/{namespace}" if namespace else "", self.plural, name, subresource]
        return "/".join(part for part in parts if part)


PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
EVENTS = Resource("", "v1", "events")


def custom(plural: str) -> Resource:
    """One of our own kinds."""
    return Resource(GROUP, VERSION, plural)


class Client:
    """One connection pool to the API server; use it as an async context manager."""

    def __init__(self, kubeconfig: str = "") -> None:
        """``kubeconfig`` is a file; empty means the ServiceAccount of the pod that this runs in."""
        self._kubeconfig = kubeconfig
        self._api: kubernetes.ApiClient | None = None

    async def __aenter__(self) -> Self:
        configuration = kubernetes.Configuration()
        configuration.connection_pool_maxsize = 64
        if self._kubeconfig:
            await kubernetes_config.load_kube_config(
                config_file=os.path.expanduser(self._kubeconfig), client_configuration=configuration
            )
        else:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        self._api = kubernetes.ApiClient(configuration)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._api is not None:
            await self._api.close()
            self._api = None

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if self._api is None:
            raise RuntimeError("The client is not open; use it in `async with`.")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"])
        url = f"{self._api.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        try:
            response: aiohttp.ClientResponse = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _preload_content=False, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        return response

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One call. Raises an ApiError for a refusal, UnavailableError when nothing is known."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_LIMIT.total_seconds())
        response = await self._send(method, path, query or {}, body, content_type, timeout)
        try:
            async with response:
                text = await response.read()
                answer: dict[str, Any] = json.loads(text) if text else {}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if response.status >= 300:
            raise error_for(f"{method} {path}", response.status, answer)
        return answer

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Read an object."""
        return await self.request("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, namespace: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        return await self.request("POST", resource.path(namespace), body=item)

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        """Merge a patch into an object; a resourceVersion in it makes the write conditional."""
        path = resource.path(namespace, name, subresource)
        return await self.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace: timedelta | None = None
    ) -> None:
        """Delete an object; one that is gone already, or was replaced by another, is a success."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = int(grace.total_seconds())
        try:
            await self.request("DELETE", resource.path(namespace, name), body=options)
        except NotFoundError:
            return
        except ConflictError:
            if not uid:
                raise

    async def list(self, resource: Resource, namespace: str, selector: Mapping[str, str]) -> dict[str, Any]:
        """Read a collection; ``selector`` holds labelSelector or fieldSelector."""
        return await self.request("GET", resource.path(namespace), query=selector)

    async def watch(
        self, resource: Resource, namespace: str, selector: Mapping[str, str], resource_version: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Follow a collection from a resource version on; ends when the server ends it.

        Raises GoneError when that version is too old, UnavailableError when the connection breaks.
        """
        seconds = int(WATCH_LIMIT.total_seconds())
        query = {
            **selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        path = resource.path(namespace)
        response = await self._send("GET", path, query, None, "application/json", timeout)
        try:
            async with response:
                if response.status >= 300:
                    raise error_for(f"watch {path}", response.status, json.loads(await response.read() or b"{}"))
                async for line in _lines(response.content):
                    event: dict[str, Any] = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise error_for(f"watch {path}", int(status.get("code", 500)), status)
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"watch {path}: {type(error).__name__}: {error}") from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own reader refuses an object of more than 128 KiB."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            parts.append(end)
            line = b"".join(parts)
            parts = []
            if line:
                yield line
        parts.append(rest)
