"""A JupyterKernelSpec and a JupyterKernelTemplate as values, parsed once at the border.

Pure. Parsing refuses only what cannot be a value at all (a word where a number belongs). Whether what was written
can make a pod is another question, which ``spec_problems`` answers in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kernel_core.argv import default_command
from kernel_core.kernel import Object
from kernel_core.merge import without_nulls


class InvalidSpecError(ValueError):
    """A kernelspec or size that cannot be used; the message names the object, the field and what to mend."""


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A JupyterKernelSpec."""

    name: str
    display_name: str
    language: str
    image: str
    """Empty if the template's kernel container has one."""
    command: tuple[str, ...]
    """As it is written, with placeholders; ``kernel_argv`` makes words of it."""
    env: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[str, ...] = ()
    template: str = ""
    interrupt_mode: str = "message"
    image_pull_policy: str = ""
    debugger: bool = False
    kernel_info: Mapping[str, Any] = field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()
    working_dir: str = ""
    template_namespace: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """A JupyterKernelTemplate: resources, placement and limits, and a pod template underneath."""

    name: str
    display_name: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)
    idle_timeout: timedelta | None = None
    start_timeout: timedelta = timedelta(minutes=10)
    queue_timeout: timedelta | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    priority_class: str = ""
    shared_memory: str = ""
    """Size of /dev/shm. Empty: as much as fits, if there is an accelerator. ``0``: the container runtime's own."""
    template: Mapping[str, Any] = field(default_factory=dict)
    busy_timeout: timedelta | None = None
    lifetime: timedelta | None = None
    warning: timedelta = timedelta(minutes=5)
    """How long before the end of a limit users are told."""
    allow_idle_opt_out: bool = False
    affinity: Mapping[str, Any] = field(default_factory=dict)
    runtime_class: str = ""
    queue: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    resource_claims: tuple[Mapping[str, Any], ...] = ()
    scheduler: str = ""
    init_containers: tuple[Mapping[str, Any], ...] = ()
    sidecars: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    volume_mounts: tuple[Mapping[str, Any], ...] = ()
    env: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class _Fields:
    """Reads one object's fields; what it cannot read it names."""

    item: Mapping[str, Any]
    where: str

    def _wrong(self, key: str, wanted: str) -> InvalidSpecError:
        return InvalidSpecError(f"{self.where}.{key} is {self.item[key]!r}; write {wanted}.")

    def text(self, key: str) -> str:
        value = self.item.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value or ""

    def flag(self, key: str) -> bool:
        value = self.item.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return bool(value)

    def seconds(self, key: str) -> timedelta | None:
        value = self.item.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise self._wrong(key, "a number of seconds")
        return timedelta(seconds=value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.item.get(key) or ()
        if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def objects(self, key: str) -> tuple[Mapping[str, Any], ...]:
        value = self.item.get(key) or ()
        if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
            raise self._wrong(key, "a list of objects")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.item.get(key) or {}
        if not isinstance(value, Mapping):
            raise self._wrong(key, "an object")
        return value

    def strings(self, key: str) -> Mapping[str, str]:
        return {name: as_text(value) for name, value in self.mapping(key).items()}


def as_text(value: object) -> str:
    """A scalar as YAML would have it in quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_spec(item: Object) -> KernelSpec:
    """A KernelSpec from a JupyterKernelSpec object."""
    name = item["metadata"]["name"]
    spec = _Fields(without_nulls(item.get("spec") or {}), f"JupyterKernelSpec {name}: spec")
    language = spec.text("language") or "python"
    template = _Fields(spec.mapping("template"), f"{spec.where}.template")
    return KernelSpec(
        name=name,
        display_name=spec.text("displayName") or name,
        language=language,
        image=spec.text("image"),
        command=spec.texts("command") or default_command(language),
        env=spec.objects("env"),
        sizes=spec.texts("sizes"),
        template=template.text("name"),
        interrupt_mode=spec.text("interruptMode") or "message",
        image_pull_policy=spec.text("imagePullPolicy"),
        debugger=spec.flag("debugger"),
        kernel_info=spec.mapping("kernelInfo"),
        image_pull_secrets=tuple(as_text(entry.get("name", "")) for entry in spec.objects("imagePullSecrets")),
        working_dir=spec.text("workingDir"),
        template_namespace=template.text("namespace"),
        namespace=item["metadata"].get("namespace", ""),
    )


def parse_size(item: Object) -> Size:
    """A Size from a JupyterKernelTemplate object."""
    name = item["metadata"]["name"]
    spec = _Fields(without_nulls(item.get("spec") or {}), f"JupyterKernelTemplate {name}: spec")
    size = _Fields(spec.mapping("size"), f"{spec.where}.size")
    warning = size.seconds("warningSeconds")
    return Size(
        name=name,
        display_name=size.text("displayName"),
        resources=size.strings("resources"),
        idle_timeout=size.seconds("idleTimeoutSeconds") or None,
        start_timeout=size.seconds("startTimeoutSeconds") or timedelta(minutes=10),
        queue_timeout=size.seconds("queueTimeoutSeconds") or None,
        node_selector=size.strings("nodeSelector"),
        tolerations=size.objects("tolerations"),
        priority_class=size.text("priorityClassName"),
        shared_memory=as_text(size.item.get("sharedMemory", "")),
        template=spec.mapping("template"),
        busy_timeout=size.seconds("busyTimeoutSeconds") or None,
        lifetime=size.seconds("lifetimeSeconds") or None,
        warning=timedelta(minutes=5) if warning is None else warning,
        allow_idle_opt_out=size.flag("allowIdleOptOut"),
        affinity=size.mapping("affinity"),
        runtime_class=size.text("runtimeClassName"),
        queue=size.text("queueName"),
        labels=size.strings("labels"),
        annotations=size.strings("annotations"),
        resource_claims=size.objects("resourceClaims"),
        scheduler=size.text("schedulerName"),
        init_containers=size.objects("initContainers"),
        sidecars=size.objects("sidecars"),
        volumes=size.objects("volumes"),
        volume_mounts=size.objects("volumeMounts"),
        env=size.objects("env"),
    )
