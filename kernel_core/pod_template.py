"""The layers of a kernel's pod that administrators write, and what follows from them.

Pure. Weakest first: the template's pod template, the size, the kernelspec. Each is a fragment of a pod spec, laid
on the one before by ``merge``. Then placeholders are filled, and what devices need is added. ``manifests`` lays on
top what always holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from kernel_core.argv import kernel_argv
from kernel_core.images import mapped_image
from kernel_core.kernel import Kernel
from kernel_core.merge import merged_pod, without_nulls
from kernel_core.names import KERNEL_CONTAINER
from kernel_core.placeholders import filled_pod, placeholder_values
from kernel_core.quantities import extended_of, half_of, is_zero
from kernel_core.spec_objects import KernelSpec, Size
from kernel_core.spec_problems import CLAIM_SOURCES

Fragment = dict[str, Any]
"""Part of a pod spec."""

SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108  # the path in the container
SHARED_MEMORY_VOLUME = "shared-memory"


@dataclass(frozen=True, slots=True)
class Base:
    """All that administrators want of a kernel's pod, and what was changed about it in words."""

    pod: Fragment
    adapted: str


def kernel_container(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The kernel's container of a pod that went through ``template_layer``."""
    container: dict[str, Any] = next(entry for entry in pod["containers"] if entry["name"] == KERNEL_CONTAINER)
    return container


def base_pod(kernel: Kernel, namespace: str, spec: KernelSpec, size: Size | None, images: Mapping[str, str]) -> Base:
    """The administrators' layers as one, placeholders filled."""
    layers = [template_layer(size), *([size_layer(size)] if size else [])]
    pod = reduce(merged_pod, layers)
    wanted = spec.image or kernel_container(pod).get("image") or ""
    image, was_mapped = mapped_image(wanted, images)
    argv = kernel_argv(spec.command, spec.language, {"kernel_id": kernel.id})
    pod = merged_pod(pod, spec_layer(spec, image, argv.words))
    for unused in ("args", "restartPolicy", "restartPolicyRules"):
        kernel_container(pod).pop(unused, None)
    pod = merged_pod({}, filled_pod(pod, placeholder_values(kernel, namespace)))  # names may have become the same
    notes = [f"image {wanted} replaced by {image}"] if was_mapped else []
    return Base(with_devices(pod, size.shared_memory if size else ""), "; ".join([*notes, *filter(None, [argv.note])]))


def template_layer(size: Size | None) -> Fragment:
    """The pod template's spec. Its container ``kernel``, else its first, is the kernel's."""
    pod: Fragment = without_nulls((size.template.get("spec") if size else None) or {})
    containers: list[dict[str, Any]] = pod.setdefault("containers", [])
    if not containers:
        containers.append({"name": KERNEL_CONTAINER})
    elif not any(container.get("name") == KERNEL_CONTAINER for container in containers):
        containers[0]["name"] = KERNEL_CONTAINER
    return merged_pod({}, pod)


def size_layer(size: Size) -> Fragment:
    """The size's own fields."""
    claims = [{key: claim[key] for key in ("name", *CLAIM_SOURCES) if key in claim} for claim in size.resource_claims]
    wanted = [{key: claim[key] for key in ("name", "request") if key in claim} for claim in size.resource_claims]
    resources = {
        "requests": dict(size.resources),
        "limits": dict(size.resources),
        "claims": wanted,
    }
    container = {
        "name": KERNEL_CONTAINER,
        "resources": {key: value for key, value in resources.items() if value},
        "env": size.env,
        "volumeMounts": size.volume_mounts,
    }
    pod = {
        "containers": [_present(container), *size.sidecars],
        "initContainers": size.init_containers,
        "volumes": size.volumes,
        "nodeSelector": size.node_selector,
        "affinity": size.affinity,
        "tolerations": size.tolerations,
        "priorityClassName": size.priority_class,
        "runtimeClassName": size.runtime_class,
        "schedulerName": size.scheduler,
        "resourceClaims": claims,
    }
    return _present(pod)


def spec_layer(spec: KernelSpec, image: str, command: tuple[str, ...]) -> Fragment:
    """The kernelspec's part."""
    container = {
        "name": KERNEL_CONTAINER,
        "image": image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": list(command),
        "workingDir": spec.working_dir,
        "env": spec.env,
    }
    secrets = [{"name": name} for name in spec.image_pull_secrets]
    return _present({"containers": [_present(container)], "imagePullSecrets": secrets})


def _present(fragment: Mapping[str, Any]) -> Fragment:
    """Without what is empty: a layer that says nothing about a field leaves it as it is."""
    return {key: without_nulls(value) for key, value in fragment.items() if value}


def with_devices(pod: Mapping[str, Any], shared_memory: str) -> Fragment:
    """Devices limited to what is requested, their nodes' taints tolerated, and room in /dev/shm."""
    made = {**pod}
    devices: dict[str, None] = {}
    for kind in ("containers", "initContainers"):
        if kind in made:
            made[kind] = [_equal_devices(container) for container in made[kind]]
            for container in made[kind]:
                amounts = extended_of(container.get("resources") or {})
                devices |= dict.fromkeys(name for name, amount in amounts.items() if not is_zero(amount))
    tolerations = [{"key": name, "operator": "Exists", "effect": "NoSchedule"} for name in devices]
    made = merged_pod(made, {"tolerations": tolerations}) if tolerations else made
    return merged_pod(made, shared_memory_layer(kernel_container(made), shared_memory))


def _equal_devices(container: Mapping[str, Any]) -> dict[str, Any]:
    """The API server takes a device only if request and limit are equal."""
    resources = container.get("resources") or {}
    devices = extended_of(resources)
    if not devices:
        return dict(container)
    both = {kind: {**(resources.get(kind) or {}), **devices} for kind in ("requests", "limits")}
    return {**container, "resources": {**resources, **both}}


def shared_memory_layer(container: Mapping[str, Any], setting: str) -> Fragment:
    """Shared memory: as large as the size says, else half of the memory limit where there is an accelerator.

    A container runtime's own has 64 MB, in which PyTorch's data loaders die.
    """
    resources = container.get("resources") or {}
    if setting:
        if is_zero(setting):
            return {}
        limit = setting
    else:
        mounts = container.get("volumeMounts") or ()
        taken = any(
            str(mount["mountPath"]).rstrip("/") == SHARED_MEMORY_PATH and mount["name"] != SHARED_MEMORY_VOLUME
            for mount in mounts
        )
        amounts = extended_of(resources).values()
        accelerated = bool(resources.get("claims")) or any(not is_zero(amount) for amount in amounts)
        if taken or not accelerated:
            return {}
        limit = half_of((resources.get("limits") or {}).get("memory"))
    room = {"medium": "Memory", **({"sizeLimit": limit} if limit else {})}
    mount = {"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_PATH}
    return {
        "volumes": [{"name": SHARED_MEMORY_VOLUME, "emptyDir": room}],
        "containers": [{"name": KERNEL_CONTAINER, "volumeMounts": [mount]}],
    }
