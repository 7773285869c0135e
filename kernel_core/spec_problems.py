"""What is wrong with a kernelspec or a size, in words for the administrator who wrote it.

Pure. The API server checks what a schema can check. A pod template is free form there, and whether a size exists,
or an image is named anywhere, no schema knows. What passes here can be merged into a pod without a surprise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

from kernel_core.argv import default_command, launcher_of
from kernel_core.merge import CONTAINER_LISTS, POD_LISTS, POD_MAPPINGS
from kernel_core.names import KERNEL_CONTAINER
from kernel_core.quantities import is_extended, parse_quantity
from kernel_core.spec_objects import KernelSpec, Size

OUR_VOLUMES = frozenset({"home", "connection", "shared-memory"})
"""Volumes that every kernel pod may have; mounts may name them."""
CLAIM_SOURCES = ("resourceClaimName", "resourceClaimTemplateName")


class Sizes(Protocol):
    """Sizes by name: a mapping, or an informer's copy."""

    def get(self, name: str, /) -> Size | None:
        """A size, or None if there is none of this name."""


def template_of(spec: KernelSpec, size_name: str) -> str:
    """The JupyterKernelTemplate of a kernel: its size, else the one template of its kernelspec, else none ("")."""
    return size_name or spec.template


def problems_of(spec: KernelSpec, sizes: Sizes) -> list[str]:
    """All that keeps kernels of a kernelspec from being made; empty if nothing does."""
    found = spec_problems(spec)
    for name in spec.sizes or ("",):
        found += choice_problems(spec, name, sizes)
    return list(dict.fromkeys(found))


def spec_problems(spec: KernelSpec) -> list[str]:
    """What is wrong in the kernelspec itself, whatever the size."""
    where = f"JupyterKernelSpec {spec.name}"
    found = list(_entries(spec.env, f"{where}: spec.env", ("name",)))
    if not default_command(spec.language):
        if not spec.command:
            found.append(
                f"{where}: spec.command is missing, and language {spec.language} has no default; "
                "write the kernel's argv with {connection_file} in it."
            )
        elif launcher := launcher_of(spec.command):
            found.append(
                f"{where}: spec.command starts {launcher}, which is not needed here; write the argv of the "
                f"{spec.language} kernel itself, with {{connection_file}} in it."
            )
    if not all(spec.image_pull_secrets):
        found.append(f"{where}: an entry of spec.imagePullSecrets has no name; name a Secret.")
    return found


def choice_problems(spec: KernelSpec, size_name: str, sizes: Sizes) -> list[str]:
    """What is wrong with a kernelspec in one of its sizes ("" is the one without a name), besides ``spec_problems``."""
    where, name = f"JupyterKernelSpec {spec.name}", template_of(spec, size_name)
    namespace = spec.template_namespace
    if name and not size_name and namespace and spec.namespace and namespace != spec.namespace:
        elsewhere = (
            f"{where}: spec.template.namespace is {namespace}, but templates are taken from the kernelspec's own "
            f"namespace, {spec.namespace}; put a copy of JupyterKernelTemplate {name} there."
        )
        return [elsewhere]
    size = sizes.get(name) if name else None
    if name and size is None:
        place = f" in namespace {spec.namespace}" if spec.namespace else ""
        field = "spec.sizes" if size_name else "spec.template"
        missing = (
            f"JupyterKernelTemplate {name} does not exist{place} or cannot be read; JupyterKernelSpec {spec.name} "
            f"needs it: create or mend it, or take it out of {field}."
        )
        return [missing]
    found = size_problems(size) if size else []
    if not found and not spec.image and not (size and template_image(size)):
        also = f", and JupyterKernelTemplate {name} has none for its kernel container" if name else ""
        found.append(f"{where}: spec.image is missing{also}; name the image that its kernels run.")
    return found


def template_image(size: Size) -> str:
    """The image of the kernel's container in a template."""
    containers = (size.template.get("spec") or {}).get("containers") or []
    named = [entry for entry in containers if entry.get("name") == KERNEL_CONTAINER] or containers[:1]
    return str(named[0].get("image") or "") if named else ""


def size_problems(size: Size) -> list[str]:
    """What is wrong with a size."""
    where = f"JupyterKernelTemplate {size.name}"
    found = list(_template(size.template, f"{where}: spec.template"))
    fields = f"{where}: spec.size"
    found += _resources(size.resources, f"{fields}.resources")
    if size.shared_memory and (parse_quantity(size.shared_memory) or Decimal(0)) < 0:
        found.append(f"{fields}.sharedMemory is {size.shared_memory!r}; write a quantity of at least 0, such as 8Gi.")
    elif size.shared_memory and parse_quantity(size.shared_memory) is None:
        found.append(f"{fields}.sharedMemory is {size.shared_memory!r}, which is no quantity; write one such as 8Gi.")
    found += _entries(size.env, f"{fields}.env", ("name",))
    found += _entries(size.volumes, f"{fields}.volumes", ("name",))
    found += _entries(size.volume_mounts, f"{fields}.volumeMounts", ("name", "mountPath"))
    found += _claims(size, fields)
    found += _containers(size.sidecars, f"{fields}.sidecars")
    found += _containers(size.init_containers, f"{fields}.initContainers")
    return found or list(_names(size, where))


def _template(template: Mapping[str, Any], where: str) -> Iterator[str]:
    metadata, pod = template.get("metadata", {}), template.get("spec", {})
    for part, value in (("metadata", metadata), ("spec", pod)):
        if not isinstance(value, Mapping):
            yield f"{where}.{part} must be an object."
    if isinstance(metadata, Mapping):
        yield from _mappings(metadata, f"{where}.metadata", ("labels", "annotations"))
    if not isinstance(pod, Mapping):
        return
    yield from _mappings(pod, f"{where}.spec", (*POD_MAPPINGS, "securityContext"))
    for field, key in POD_LISTS.items():
        if field in ("containers", "initContainers"):
            yield from _containers(pod.get(field, ()), f"{where}.spec.{field}")
        else:
            yield from _entries(pod.get(field, ()), f"{where}.spec.{field}", key)


def _containers(containers: object, where: str) -> Iterator[str]:
    wrong = list(_entries(containers, where, ("name",)))
    yield from wrong
    if wrong or not isinstance(containers, list | tuple):
        return
    for index, container in enumerate(containers):
        path = f"{where}[{index}]"
        yield from _mappings(container, path, ("resources", "securityContext"))
        for field, key in CONTAINER_LISTS.items():
            required = tuple(part for part in key if part != "protocol")
            yield from _entries(container.get(field, ()), f"{path}.{field}", required)
        resources = container.get("resources", {})
        if isinstance(resources, Mapping):
            yield from _mappings(resources, f"{path}.resources", ("requests", "limits"))
            yield from _entries(resources.get("claims", ()), f"{path}.resources.claims", ("name",))
            for kind in ("requests", "limits"):
                if isinstance(resources.get(kind), Mapping):
                    yield from _resources(resources[kind], f"{path}.resources.{kind}")


def _mappings(item: Mapping[str, Any], where: str, fields: tuple[str, ...]) -> Iterator[str]:
    for field in fields:
        if field in item and not isinstance(item[field], Mapping):
            yield f"{where}.{field} must be an object."


def _entries(entries: object, where: str, required: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(entries, list | tuple):
        yield f"{where} must be a list."
        return
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            yield f"{where}[{index}] must be an object."
            continue
        for field in required:
            if not isinstance(entry.get(field), str | int) or entry[field] == "":
                yield f"{where}[{index}].{field} is missing; give it one."


def _resources(resources: Mapping[str, object], where: str) -> Iterator[str]:
    for name, amount in resources.items():
        quantity, field = parse_quantity(amount), f"{where}[{name}] is {str(amount)!r}"
        if quantity is None:
            yield f"{field}, which is no quantity; write one such as 2, 500m or 16Gi."
        elif quantity < 0:
            yield f"{field}; write a quantity of at least 0."
        elif is_extended(name) and quantity != quantity.to_integral_value():
            yield f"{field}; devices are given out whole: write a whole number, or the resource of a slice."


def _claims(size: Size, fields: str) -> Iterator[str]:
    wrong = list(_entries(size.resource_claims, f"{fields}.resourceClaims", ("name",)))
    yield from wrong
    for index, claim in enumerate(() if wrong else size.resource_claims):
        if sum(source in claim for source in CLAIM_SOURCES) != 1:
            yield f"{fields}.resourceClaims[{index}] must have one of {' and '.join(CLAIM_SOURCES)}."


def _names(size: Size, where: str) -> Iterator[str]:
    """Names that meet: two containers of one name, a mount whose volume is nowhere."""
    pod = size.template.get("spec") or {}
    containers = [dict(entry) for entry in pod.get("containers") or ()]
    if containers and all(entry["name"] != KERNEL_CONTAINER for entry in containers):
        containers[0]["name"] = KERNEL_CONTAINER  # as the merge does
    mains = [*containers, *size.sidecars]
    inits = [*(pod.get("initContainers") or ()), *size.init_containers]
    if any(entry["name"] == KERNEL_CONTAINER for entry in size.sidecars):
        yield f"{where}: spec.size.sidecars: {KERNEL_CONTAINER} is the kernel's own; give the sidecar another name."
    for name in sorted({entry["name"] for entry in inits} & {KERNEL_CONTAINER, *(entry["name"] for entry in mains)}):
        yield f"{where}: an init container and a container are both called {name}; rename one."
    volumes = {entry["name"] for entry in [*(pod.get("volumes") or ()), *size.volumes]} | OUR_VOLUMES
    mounts = [*size.volume_mounts, *(mount for entry in [*mains, *inits] for mount in entry.get("volumeMounts") or ())]
    for name in sorted({str(mount.get("name")) for mount in mounts} - volumes):
        yield f"{where}: volume {name} is mounted but not listed; add it to spec.size.volumes, or correct the name."
