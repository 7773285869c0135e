"""The custom resources refuse what cannot be, in words that say what to mend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import crds
from kernel_core.cluster.client import ApiError, InvalidError, custom
from kernel_core.names import API_VERSION, KERNEL_SPECS, KERNEL_TEMPLATES, KERNELS, NOTEBOOKS
from local_cluster.cluster import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "schemas"
KINDS = {
    "JupyterKernel": KERNELS,
    "JupyterKernelSpec": KERNEL_SPECS,
    "JupyterKernelTemplate": KERNEL_TEMPLATES,
    "JupyterNotebook": NOTEBOOKS,
}
KERNEL = {"owner": {"user": "ada"}, "managedBy": "gw", "kernelSpec": "python3"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A cluster with our resources."""
    async with LocalCluster(tmp_path_factory.mktemp("cluster"), gpus=0, images={}) as running:
        await running.apply_definitions(crds.definitions())
        await running.make_namespace(NAMESPACE)
        yield running


async def create(cluster: LocalCluster, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Create strictly, as kubectl does: a field that the schema does not know is an error."""
    path = custom(KINDS[kind]).path(NAMESPACE)
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return await cluster.client.request("POST", path, body=body, query={"fieldValidation": "Strict"})


async def test_the_samples_are_accepted_strictly(cluster) -> None:
    """Every field of them is in the schema."""
    for item in crds.samples("python-sizes"):
        await create(cluster, item["kind"], item["metadata"]["name"], item["spec"])


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("JupyterKernelTemplate", {"size": {"resources": {"nvidia.com/gpu": "two"}}}, "must be a quantity"),
        ("JupyterKernelTemplate", {"size": {"resources": {"memory": "-1Gi"}}}, "of at least 0"),
        ("JupyterKernelTemplate", {"size": {"sharedMemory": "lots"}}, "sharedMemory must be a quantity"),
        ("JupyterKernelTemplate", {"size": {"idleTimeoutSeconds": 0}}, "greater than or equal to 1"),
        ("JupyterKernelTemplate", {"size": {"idleTimeoutSeconds": -5}}, "greater than or equal to 1"),
        ("JupyterKernelSpec", {"interruptMode": "shout"}, "supported values"),
        ("JupyterKernelSpec", {"sizes": ["a", "a"]}, "Duplicate value"),
        ("JupyterKernel", {**KERNEL, "idleTimeoutSeconds": 0}, "greater than or equal to 1"),
        ("JupyterKernel", {**KERNEL, "operatingMode": "Sleeping"}, "supported values"),
        ("JupyterKernel", {**KERNEL, "owner": {}}, "owner.user: Required"),
        ("JupyterNotebook", {"home": {"mode": "Shared"}}, "needs claimName"),
        ("JupyterNotebook", {"home": {"mode": "None", "mountPath": "relative"}}, "should match"),
        ("JupyterKernel", {**KERNEL, "kernelspec": "typo"}, "unknown field"),
    ],
)
async def test_a_wrong_object_is_refused_with_what_is_wrong(cluster, kind, spec, words) -> None:
    """At the API server, before anybody acts on it."""
    with pytest.raises(ApiError) as refused:
        await create(cluster, kind, "wrong", spec)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"owner": {"user": "mallory"}}, "owner is immutable"),
        ({"managedBy": "other"}, "managedBy is immutable"),
        ({"runRequest": 1}, "never decreases"),
    ],
)
async def test_a_kernel_cannot_change_hands_or_go_back_in_time(cluster, patch, words) -> None:
    """Whoever writes."""
    name = f"fixed-{next(iter(patch)).lower()}"
    await create(cluster, "JupyterKernel", name, {**KERNEL, "runRequest": 2})
    with pytest.raises(InvalidError) as refused:
        await cluster.client.patch(custom(KERNELS), NAMESPACE, name, {"spec": patch})
    assert words in str(refused.value)


async def test_kernels_can_be_selected_by_their_manager(cluster) -> None:
    """So that a gateway reads only its own."""
    for name, manager in (("of-a", "a"), ("of-b", "b")):
        await create(cluster, "JupyterKernel", name, {**KERNEL, "managedBy": manager})
    listed = await cluster.client.list(custom(KERNELS), NAMESPACE, {"fieldSelector": "spec.managedBy=a"})
    assert [item["metadata"]["name"] for item in listed["items"]] == ["of-a"]
