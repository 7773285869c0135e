"""Templates, sizes and kernelspecs at random, with names that meet on purpose."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from kernel_core.kernel import Owner
from kernel_core.merge import CONTAINER_LISTS, POD_LISTS
from kernel_core.names import CONNECTION_DIR, LABEL_KERNEL
from kernel_core.sizes import KernelSpec, Size

NAMES = ("a", "b", "home", "connection", "shared-memory", "HOME", "data-{username}")
PATHS = ("/a", "/b", "/dev/shm", "/home/jovyan", CONNECTION_DIR)
DEVICES = ("nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "gpu.intel.com/i915")
USERS = ("ada", "Ada@x.org", "../../root", "a/b", "$(KEY)", "{kernel_id}", "..", "1ada", "ünï", "{username}")


def some(source: random.Random, made: Any) -> list[Any]:
    """None to three of what ``made()`` gives."""
    return [made() for _ in range(source.randrange(4))]


def environment(source: random.Random) -> list[dict[str, Any]]:
    """Variables, some of them ours."""
    return some(source, lambda: {"name": source.choice((*NAMES, "POD_IP", "JUPYTERHUB_USER")), "value": "{username}"})


def mounts(source: random.Random) -> list[dict[str, Any]]:
    """Mounts, some at places of ours."""
    return some(
        source, lambda: {"name": source.choice(NAMES), "mountPath": source.choice(PATHS), "subPath": "{username}"}
    )


def volumes(source: random.Random) -> list[dict[str, Any]]:
    """Volumes, some with names of ours."""
    return some(source, lambda: {"name": source.choice(NAMES), "emptyDir": {"sizeLimit": f"{source.randrange(9)}Gi"}})


def resources(source: random.Random) -> dict[str, str]:
    """CPU, memory, devices."""
    amounts = {"cpu": "500m", "memory": source.choice(("1Gi", "3Gi")), source.choice(DEVICES): source.choice("0124")}
    return {name: amount for name, amount in amounts.items() if source.random() < 0.7}


def a_container(source: random.Random, name: str) -> dict[str, Any]:
    """A container of an administrator's."""
    return {
        "name": name,
        "image": "template/image:1",
        "env": environment(source),
        "volumeMounts": mounts(source),
        "resources": {kind: resources(source) for kind in ("limits", "requests") if source.random() < 0.5},
        "ports": some(source, lambda: {"containerPort": source.choice((80, 81))}),
    }


def tolerations(source: random.Random) -> list[dict[str, Any]]:
    """Some that will be added anyway."""
    return some(source, lambda: {"key": source.choice(DEVICES), "operator": "Exists", "effect": "NoSchedule"})


def a_size(source: random.Random) -> Size:
    """A size over a pod template that wants to be everything."""
    forged = {LABEL_KERNEL: "forged", "app": "mine", "kernel_id": "forged", "team": "{username}"}
    spec = {
        "restartPolicy": source.choice(("Always", "Never")),
        "terminationGracePeriodSeconds": 600,
        "automountServiceAccountToken": True,
        "containers": [
            a_container(source, name) for name in source.sample(("main", "kernel", "log"), source.randrange(4))
        ],
        "initContainers": some(source, lambda: a_container(source, "init")),
        "volumes": volumes(source),
        "tolerations": tolerations(source),
        "imagePullSecrets": some(source, lambda: {"name": source.choice("xy")}),
    }
    return Size(
        "s",
        resources=resources(source),
        shared_memory=source.choice(("", "", "0", "1Gi")),
        template={"metadata": {"labels": forged, "annotations": forged}, "spec": spec},
        tolerations=tuple(tolerations(source)),
        labels=forged,
        annotations={"hub.jupyter.org/username": "forged"},
        queue=source.choice(("", "gpus")),
        sidecars=tuple(some(source, lambda: a_container(source, source.choice(("log", "proxy"))))),
        init_containers=tuple(some(source, lambda: a_container(source, "init"))),
        volumes=tuple(volumes(source)),
        volume_mounts=tuple(mounts(source)),
        env=tuple(environment(source)),
        resource_claims=tuple(some(source, lambda: {"name": source.choice("pq"), "resourceClaimName": "c"})),
    )


def a_spec(source: random.Random) -> KernelSpec:
    """A kernelspec."""
    return KernelSpec(
        "py", "Py", "python", "image:1", ("python", "{connection_file}"),
        env=tuple(environment(source)), image_pull_secrets=tuple(source.choice("xy") for _ in range(2)),
    )  # fmt: skip


def an_owner(source: random.Random) -> Owner:
    """Somebody with an awkward name, on an awkward server."""
    return Owner(source.choice(USERS), source.choice(("", *USERS)))


def every_container(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Containers and init containers."""
    yield from pod["spec"]["containers"]
    yield from pod["spec"].get("initContainers") or ()


def keys_that_come_twice(pod: Mapping[str, Any]) -> list[str]:
    """What server-side apply would refuse."""
    lists = [(field, key, pod["spec"].get(field) or ()) for field, key in POD_LISTS.items()]
    for container in every_container(pod):
        lists += [(field, key, container.get(field) or ()) for field, key in CONTAINER_LISTS.items()]
        lists += [("claims", ("name",), container.get("resources", {}).get("claims") or ())]
    found = []
    for field, key, entries in lists:
        seen = [str([entry.get(part) for part in key] if key else sorted(entry.items())) for entry in entries]
        found += [f"{field} {entry}" for entry in set(seen) if seen.count(entry) > 1]
    return found


def strings_of(value: Any) -> Iterator[str]:
    """Every string value in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from strings_of(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from strings_of(entry)
