"""The local cluster is Kubernetes: it schedules, refuses, collects, and its pods live and end as pods do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from kernel_core.cluster.client import PODS, SECRETS, ApiError, ForbiddenError, NotFoundError, Resource
from local_cluster.cluster import LocalCluster
from local_cluster.control_plane.start import free_ports
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKOUT = Path(__file__).parents[2]
NAMESPACE = "pods"
IMAGE = "test/python:1"
CLAIMS = Resource("", "v1", "persistentvolumeclaims")
CONFIG = Resource("", "v1", "configmaps")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """Two GPUs, one image."""
    images = {"test/python*": str(CHECKOUT / ".build" / "envs" / "user")}
    async with LocalCluster(tmp_path_factory.mktemp("cluster"), gpus=2, images=images) as running:
        await running.make_namespace(NAMESPACE)
        yield running


def pod(name: str, code: str, *, gpus: int = 0, image: str = IMAGE, **spec: Any) -> dict[str, Any]:
    """A pod that runs some Python."""
    container: dict[str, Any] = {"name": "main", "image": image, "command": ["python", "-uc", code]}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    container.update(spec.pop("container", {}))
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}


async def phase_of(cluster: LocalCluster, name: str) -> str:
    """A pod's phase."""
    return str((await cluster.client.get(PODS, NAMESPACE, name)).get("status", {}).get("phase"))


async def until(cluster: LocalCluster, name: str, phase: str, within: float = 15) -> dict[str, Any]:
    """Wait for a phase and return the pod."""

    async def look() -> bool:
        return await phase_of(cluster, name) == phase

    await eventually(look, within=within, what=f"{name} {phase}")
    return await cluster.client.get(PODS, NAMESPACE, name)


def log_of(cluster: LocalCluster, item: dict[str, Any]) -> str:
    """What a pod's container has printed."""
    return (cluster.kubeconfig.parent / "pods" / item["metadata"]["uid"] / "logs" / "main.log").read_text()


async def test_a_pod_sees_its_secret_its_address_and_nothing_of_the_host(cluster) -> None:
    """Mounted file, field, own home, own user."""
    await cluster.client.create(SECRETS, NAMESPACE, {"metadata": {"name": "s"}, "stringData": {"key": "value"}})
    shown = "open('/run/s/key').read(), os.environ['IP'], os.getuid(), os.getpid(), 'PYTEST_CURRENT_TEST' in os.environ"
    code = f"import os; print({shown})"
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    mounts = [{"name": "s", "mountPath": "/run/s", "readOnly": True}]
    made = pod(
        "sees",
        code,
        container={"env": env, "volumeMounts": mounts},
        volumes=[{"name": "s", "secret": {"secretName": "s"}}],
    )
    await cluster.client.create(PODS, NAMESPACE, made)
    item = await until(cluster, "sees", "Succeeded")
    assert log_of(cluster, item).split() == ["value", item["status"]["podIP"], "1000", "1", "False"]


async def test_pods_listen_on_the_same_port_of_every_address_side_by_side(cluster) -> None:
    """Each has ports of its own, as with a network namespace."""
    (port,) = free_ports(1)
    listen = f"s = socket.socket(); s.bind(('0.0.0.0', {port})); s.listen(); print(s.getsockname())"
    code = f"import socket, time; {listen}; time.sleep(60)"
    for name in ("listen-a", "listen-b"):
        await cluster.client.create(PODS, NAMESPACE, pod(name, code, terminationGracePeriodSeconds=0))
    for name in ("listen-a", "listen-b"):
        item = await until(cluster, name, "Running")

        async def bound(item: dict[str, Any] = item) -> bool:
            return item["status"]["podIP"] in log_of(cluster, item)

        await eventually(bound, within=5, what=f"{name} listens at its own address")
        await cluster.client.delete(PODS, NAMESPACE, name)


async def test_a_pod_beyond_the_gpus_waits_with_the_schedulers_words_and_runs_when_one_is_free(cluster) -> None:
    """Real scheduling, and device numbers that nobody shares."""
    code = "import os, time; print(os.environ['NVIDIA_VISIBLE_DEVICES']); time.sleep(600)"
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        await cluster.client.create(PODS, NAMESPACE, pod(name, code, gpus=1, terminationGracePeriodSeconds=0))
    first, second = [await until(cluster, name, "Running") for name in ("gpu-a", "gpu-b")]

    async def devices() -> set[str]:
        seen = {log_of(cluster, item).strip() for item in (first, second)}
        return seen if seen == {"0", "1"} else set()

    await eventually(devices, within=5, what="one GPU each")
    third = await cluster.client.get(PODS, NAMESPACE, "gpu-c")
    words = next(c["message"] for c in third["status"]["conditions"] if c["type"] == "PodScheduled")
    assert "Insufficient nvidia.com/gpu" in words
    await cluster.client.delete(PODS, NAMESPACE, "gpu-a")
    await until(cluster, "gpu-c", "Running", within=20)
    for name in ("gpu-b", "gpu-c"):
        await cluster.client.delete(PODS, NAMESPACE, name)


async def test_a_process_that_is_pid_1_ignores_sigterm_until_its_grace_is_over(cluster) -> None:
    """As in a container: this is why a kernel is asked to end first."""
    await cluster.client.create(
        PODS, NAMESPACE, pod("deaf", "import time; time.sleep(600)", terminationGracePeriodSeconds=2)
    )
    await until(cluster, "deaf", "Running")
    started = monotonic()
    await cluster.client.delete(PODS, NAMESPACE, "deaf")

    async def gone() -> bool:
        try:
            await cluster.client.get(PODS, NAMESPACE, "deaf")
        except NotFoundError:
            return True
        return False

    await eventually(gone, within=8, what="gone")
    assert monotonic() - started >= 1.8


async def test_an_image_that_nothing_stands_for_and_a_missing_secret_are_told_as_a_kubelet_would(cluster) -> None:
    """Waiting with a reason, not a crash."""
    await cluster.client.create(PODS, NAMESPACE, pod("no-image", "1", image="nowhere/none:1"))
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "later", "key": "k"}}}]
    await cluster.client.create(
        PODS, NAMESPACE, pod("no-secret", "import os; print(os.environ['X'])", container={"env": env})
    )

    async def reason(name: str) -> str:
        statuses = (await cluster.client.get(PODS, NAMESPACE, name)).get("status", {}).get("containerStatuses") or [{}]
        return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))

    async def told() -> bool:
        return (await reason("no-image"), await reason("no-secret")) == (
            "ImagePullBackOff",
            "CreateContainerConfigError",
        )

    await eventually(told, within=10, what="both reasons")
    await cluster.client.create(SECRETS, NAMESPACE, {"metadata": {"name": "later"}, "stringData": {"k": "v"}})
    item = await until(cluster, "no-secret", "Succeeded")
    assert log_of(cluster, item).strip() == "v"
    await cluster.client.delete(PODS, NAMESPACE, "no-image")


async def test_two_pods_share_a_claim(cluster) -> None:
    """What one writes the other reads."""
    claim = {
        "metadata": {"name": "home"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await cluster.client.create(CLAIMS, NAMESPACE, claim)
    volumes = [{"name": "h", "persistentVolumeClaim": {"claimName": "home"}}]
    mount = {"volumeMounts": [{"name": "h", "mountPath": "/home/jovyan", "subPath": "ada"}]}
    write = pod("writes", "open('/home/jovyan/f', 'w').write('shared')", container=mount, volumes=volumes)
    await cluster.client.create(PODS, NAMESPACE, write)
    await until(cluster, "writes", "Succeeded")
    await cluster.client.create(
        PODS, NAMESPACE, pod("reads", "print(open('f').read())", container=mount, volumes=volumes)
    )
    assert log_of(cluster, await until(cluster, "reads", "Succeeded")).strip() == "shared"


async def test_what_an_object_owns_goes_with_it(cluster) -> None:
    """Garbage collection is the controller manager's own."""
    owner = await cluster.client.create(CONFIG, NAMESPACE, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await cluster.client.create(CONFIG, NAMESPACE, {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    await cluster.client.delete(CONFIG, NAMESPACE, "owner")

    async def gone() -> bool:
        try:
            await cluster.client.get(CONFIG, NAMESPACE, "owned")
        except NotFoundError:
            return True
        return False

    await eventually(gone, within=10, what="the owned object gone")


async def test_an_account_may_do_what_its_role_says_and_nothing_else(cluster) -> None:
    """RBAC is enforced."""
    from kernel_core.cluster.client import Client

    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    path = await cluster.service_account(NAMESPACE, "reader", rules)
    async with Client(str(path)) as reader:
        assert "items" in await reader.list(PODS, NAMESPACE, {})
        with pytest.raises(ForbiddenError):
            await reader.list(SECRETS, NAMESPACE, {})
        with pytest.raises(ApiError):
            await reader.list(PODS, "default", {})


async def test_a_killed_owner_leaves_no_process_and_ctrl_c_ends_with_0(tmp_path: Path) -> None:
    """Neither a component nor a pod outlives it."""
    command = [sys.executable, "-m", "local_cluster", "up", "--dir", str(tmp_path / "c"), "--gpus", "1"]
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 0)):
        owner = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdout=subprocess.PIPE)
        assert owner.stdout is not None
        async with asyncio.timeout(60):
            while b"ready" not in await owner.stdout.readline():
                continue
        os.kill(owner.pid, number)
        async with asyncio.timeout(30):
            assert await owner.wait() == code

        async def nobody() -> bool:
            listed = await asyncio.create_subprocess_exec("pgrep", "-f", str(tmp_path / "c"), stdout=subprocess.PIPE)
            return not (await listed.communicate())[0].strip()

        await eventually(nobody, within=10, what="no process left")
