"""Keeps the JupyterNotebook of a user server, from which the gateway learns the user's home.

The object stays when the server stops, since kernels may outlive it, and goes with the server itself. Every
operation has a deadline and none of them may make a spawn fail: without the object kernels start with an empty
home, which is bad, and without the server the user has nothing, which is worse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException

from elastic_spawner.home import Home
from kernel_core import names

MANAGED_BY = "hub"
FIRST_PAUSE = 0.1
"""Seconds before the first repetition of what failed for a reason that may pass; doubled each time."""
LONGEST_PAUSE = 1.0
MERGE_PATCH = "application/merge-patch+json"
PASSING = frozenset({409, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed. 409: somebody else wrote the object meanwhile."""


class MirrorError(RuntimeError):
    """The object could not be written; the message says why and what an administrator can do."""


class NotebookMirror:
    """The JupyterNotebooks of one namespace, through the Hub's own client.

    ``objects`` is a kubernetes_asyncio CustomObjectsApi; ``limit`` bounds each public operation as a whole.
    """

    def __init__(self, objects: Any, namespace: str, limit: timedelta, log: logging.Logger | Any) -> None:
        self._objects = objects
        self._where = {
            "group": names.GROUP,
            "version": names.VERSION,
            "namespace": namespace,
            "plural": names.NOTEBOOKS,
        }
        self._namespace = namespace
        self._limit = limit
        self._log = log

    async def write(self, notebook: dict[str, Any]) -> None:
        """Make the object so; writes nothing if it is so already. Raises MirrorError."""
        name = notebook["metadata"]["name"]
        await self._within(f"write JupyterNotebook {name}", partial(self._write_once, name, notebook))

    async def write_status(self, name: str, status: dict[str, Any]) -> None:
        """Merge these fields into the status. Raises MirrorError."""
        patch = partial(
            self._objects.patch_namespaced_custom_object_status,
            **self._where,
            name=name,
            body={"status": status},
            _content_type=MERGE_PATCH,
        )
        await self._within(f"write the status of JupyterNotebook {name}", patch)

    async def delete(self, user: str, server: str) -> None:
        """Delete the object of this user server; one that is gone is a success. Raises MirrorError."""
        name = names.notebook_name(user, server)
        await self._within(f"delete JupyterNotebook {name}", partial(self._delete_once, name, user, server))

    async def move(self, user: str, old_server: str, new_server: str) -> None:
        """Give the object of a renamed server its new name and owner. Raises MirrorError."""
        old, new = names.notebook_name(user, old_server), names.notebook_name(user, new_server)

        async def once() -> None:
            found = await self._get(old)
            if found is None or not _is_of(found, user, old_server):
                return
            metadata = found["metadata"]
            notebook = {
                "apiVersion": names.API_VERSION,
                "kind": "JupyterNotebook",
                "metadata": {
                    "name": new,
                    "labels": metadata.get("labels") or {},
                    "annotations": metadata.get("annotations") or {},
                },
                "spec": {**found["spec"], "owner": {"user": user, "server": new_server}},
            }
            await self._write_once(new, notebook)
            await self._delete_once(old, user, old_server)

        await self._within(f"rename JupyterNotebook {old} to {new}", once)

    async def _write_once(self, name: str, notebook: dict[str, Any]) -> None:
        owner = notebook["spec"]["owner"]
        found = await self._get(name)
        if found is None:
            body = {**notebook, "spec": _without_none(notebook["spec"])}
            await self._objects.create_namespaced_custom_object(**self._where, body=body)
            return
        if not _is_of(found, owner["user"], owner["server"]):
            raise MirrorError(
                f"JupyterNotebook {name} in namespace {self._namespace} exists and is not the Hub's: kernels of "
                f"{owner['user']} get an empty home. Rename or delete that object."
            )
        wanted = _without_none(notebook["spec"])["home"]
        if found["spec"].get("home") == wanted:
            return
        patch = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "spec": {"home": notebook["spec"].get("home")},
        }
        await self._objects.patch_namespaced_custom_object(
            **self._where,
            name=name,
            body=patch,
            _content_type=MERGE_PATCH,
        )

    async def _delete_once(self, name: str, user: str, server: str) -> None:
        found = await self._get(name)
        if found is None or not _is_of(found, user, server):
            return
        try:
            await self._objects.delete_namespaced_custom_object(
                **self._where,
                name=name,
                body={"preconditions": {"uid": found["metadata"]["uid"]}},
            )
        except ApiException as error:
            if error.status != 404:
                raise

    async def _get(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._objects.get_namespaced_custom_object(**self._where, name=name)
        except ApiException as error:
            if error.status == 404:
                return None  # the object or its kind: a creation tells which
            raise
        return found

    async def _within(self, what: str, operation: Callable[[], Awaitable[Any]]) -> None:
        """Repeat an operation until it succeeds, is refused for good, or the limit is over.

        The clock is looked at as well as the timeout: a client library that has timers of its own may turn the
        timeout's cancellation into an error that would be tried again.
        """
        seconds, last, pause = self._limit.total_seconds(), "no answer", FIRST_PAUSE
        deadline = monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while monotonic() < deadline:
                    try:
                        await operation()
                        return
                    except ApiException as error:
                        last = _words(error)
                        if error.status not in PASSING:
                            raise MirrorError(f"Could not {what}: {last}. {_next_step(error)}") from error
                    except (aiohttp.ClientError, OSError) as error:
                        last = f"{type(error).__name__}: {error}"
                    self._log.debug("Could not %s yet: %s", what, last)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        raise MirrorError(
            f"Could not {what} in namespace {self._namespace} within {seconds:g} s: {last}. "
            "Kernels get an empty home until the server is started again."
        )


def notebook_object(
    user: str, server: str, home: Home, labels: dict[str, str], annotations: dict[str, str]
) -> dict[str, Any]:
    """The JupyterNotebook that stands for a user server."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "JupyterNotebook",
        "metadata": {
            "name": names.notebook_name(user, server),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "managedBy": MANAGED_BY,
            "owner": {"user": user, "server": server},
            "home": home.as_spec(),
        },
    }


def _is_of(found: dict[str, Any], user: str, server: str) -> bool:
    """Whether an object was written by a Hub for this user server; nobody else's is ever changed."""
    spec = found.get("spec") or {}
    owner = spec.get("owner") or {}
    return spec.get("managedBy") == MANAGED_BY and owner.get("user") == user and (owner.get("server") or "") == server


def _without_none(spec: dict[str, Any]) -> dict[str, Any]:
    home = {key: value for key, value in (spec.get("home") or {}).items() if value is not None}
    return {**spec, "home": home}


def _words(error: ApiException) -> str:
    """What the API server said, in one line."""
    return f"{error.status} {error.reason}: {' '.join(str(error.body or '').split())[:300]}"


def _next_step(error: ApiException) -> str:
    if error.status == 404:
        return "The JupyterNotebook resource is not installed in this cluster: apply the files in crds/."
    if error.status in (401, 403):
        return "The Hub's service account needs get, create, patch and delete on jupyternotebooks."
    return "Kernels get an empty home until the server is started again."
