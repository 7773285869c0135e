"""The cluster's objects as the demo's terminal and its tour read them: one client, plain dictionaries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes_asyncio import client, config

from kernel_core.names import GROUP, LABEL_KERNEL, VERSION


class Objects:
    """Reads of one namespace."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._core = client.CoreV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        self._api = api
        self._namespace = namespace

    async def kernels(self) -> list[dict[str, Any]]:
        """All JupyterKernels, oldest first."""
        answer = await self._custom.list_namespaced_custom_object(
            GROUP, VERSION, self._namespace, "jupyterkernels", _request_timeout=10
        )
        items: list[dict[str, Any]] = answer["items"]
        return sorted(items, key=lambda item: item["metadata"]["creationTimestamp"])

    async def kernel(self, name: str) -> dict[str, Any]:
        """One JupyterKernel."""
        answer: dict[str, Any] = await self._custom.get_namespaced_custom_object(
            GROUP, VERSION, self._namespace, "jupyterkernels", name, _request_timeout=10
        )
        return answer

    async def patch_kernel(self, name: str, patch: dict[str, Any]) -> None:
        """Change a JupyterKernel as ``kubectl patch --type merge`` would."""
        await self._custom.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            self._namespace,
            "jupyterkernels",
            name,
            patch,
            _request_timeout=10,
            _content_type="application/merge-patch+json",
        )

    async def kernel_pods(self, kernel: str | None = None) -> list[dict[str, Any]]:
        """The pods of one kernel, or of all."""
        selector = f"{LABEL_KERNEL}={kernel}" if kernel else LABEL_KERNEL
        answer = await self._core.list_namespaced_pod(self._namespace, label_selector=selector, _request_timeout=10)
        items: list[dict[str, Any]] = self._api.sanitize_for_serialization(answer)["items"]
        return items

    async def delete_pod(self, name: str) -> None:
        """Delete a pod from outside, as ``kubectl delete pod`` does."""
        await self._core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=1, _request_timeout=10)

    async def create_quota(self, name: str, hard: dict[str, str]) -> None:
        """Limit the namespace and wait, at most 5 s, until the limit counts."""
        body = {"metadata": {"name": name}, "spec": {"hard": hard}}
        await self._core.create_namespaced_resource_quota(self._namespace, body, _request_timeout=10)
        async with asyncio.timeout(5):
            while not (await self._core.read_namespaced_resource_quota(name, self._namespace)).status.hard:
                await asyncio.sleep(0.1)

    async def delete_quota(self, name: str) -> None:
        """Lift a limit."""
        await self._core.delete_namespaced_resource_quota(name, self._namespace, _request_timeout=10)


def gpus(pod: dict[str, Any]) -> int:
    """How many GPUs a pod asks for."""
    return sum(
        int(container.get("resources", {}).get("requests", {}).get("nvidia.com/gpu", 0))
        for container in pod["spec"]["containers"]
    )


@asynccontextmanager
async def read_objects(kubeconfig: Path, namespace: str) -> AsyncIterator[Objects]:
    """Objects of a namespace, read with a kubeconfig."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield Objects(api, namespace)
