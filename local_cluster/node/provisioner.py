"""Volumes for claims: a directory each, made when a claim wants one and removed when its volume is released."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_core.cluster.client import AlreadyExistsError, ApiError, Client, Resource, UnavailableError
from kernel_core.cluster.informer import Informer
from local_cluster.node.agent import namespaced

log = logging.getLogger(__name__)

CLASS = "local"
PROVISIONER = "elastic-jupyter/process-node"
CLAIMS = Resource("", "v1", "persistentvolumeclaims")
VOLUMES = Resource("", "v1", "persistentvolumes")
CLASSES = Resource("storage.k8s.io", "v1", "storageclasses")


def volume_for(claim: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The volume that a claim gets."""
    meta, spec = claim["metadata"], claim["spec"]
    return {
        "metadata": {
            "name": f"pvc-{meta['uid']}",
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.get("storageClassName", CLASS),
            "hostPath": {"path": str(directory)},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        },
    }


class Provisioner:
    """Serves the default StorageClass."""

    def __init__(self, client: Client, directory: Path) -> None:
        self._client = client
        self._dir = directory
        self._tasks: set[asyncio.Task[None]] = set()
        self._claims: Informer[dict[str, Any]] = Informer(client, CLAIMS, "", dict, key=namespaced)
        self._volumes: Informer[dict[str, Any]] = Informer(client, VOLUMES, "", dict)
        self._claims.on_change(lambda _name, _before, after: after and self._spawn(self._provide(after)))
        self._volumes.on_change(lambda _name, _before, after: after and self._spawn(self._reclaim(after)))

    async def __aenter__(self) -> Self:
        storage_class = {
            "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        }
        with contextlib.suppress(AlreadyExistsError):
            await self._client.create(CLASSES, "", storage_class)
        await self._claims.start(timedelta(seconds=30))
        await self._volumes.start(timedelta(seconds=30))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._claims.stop()
        await self._volumes.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _provide(self, claim: dict[str, Any]) -> None:
        spec = claim["spec"]
        if spec.get("volumeName") or spec.get("storageClassName") != CLASS:
            return
        directory = self._dir / "volumes" / claim["metadata"]["namespace"] / claim["metadata"]["name"]
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        try:
            await self._client.create(VOLUMES, "", volume_for(claim, directory))
        except AlreadyExistsError:
            return
        except (ApiError, UnavailableError) as error:
            log.warning("No volume for claim %s: %s", claim["metadata"]["name"], error)

    async def _reclaim(self, volume: dict[str, Any]) -> None:
        if volume.get("status", {}).get("phase") != "Released":
            return
        with contextlib.suppress(ApiError, UnavailableError):
            await asyncio.to_thread(shutil.rmtree, volume["spec"]["hostPath"]["path"], True)
            await self._client.delete(VOLUMES, "", volume["metadata"]["name"], uid=volume["metadata"]["uid"])
