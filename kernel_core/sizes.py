"""What users choose from: a kernelspec (an image and a command) in a size (resources and limits).

Pure. A JupyterKernelSpec lists its sizes; each size is a JupyterKernelTemplate. One function says which
kernelspecs that makes and what they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kernel_core.kernel import Object
from kernel_core.names import kernelspec_name

DEFAULT_COMMAND = ("python", "-m", "ipykernel_launcher", "-f", "{connection_file}")


class InvalidSpecError(ValueError):
    """A kernelspec or size that cannot be used; the message names the object and what to mend."""


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A JupyterKernelSpec."""

    name: str
    display_name: str
    language: str
    image: str
    command: tuple[str, ...]
    env: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[str, ...] = ()
    template: str = ""
    interrupt_mode: str = "message"
    image_pull_policy: str = ""
    debugger: bool = False
    kernel_info: Mapping[str, Any] = field(default_factory=dict)


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
    template: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of the launcher: a kernelspec in one of its sizes, or without any."""

    spec: KernelSpec
    size: Size | None

    @property
    def name(self) -> str:
        """What notebooks store."""
        return kernelspec_name(self.spec.name, self.size.name if self.size else "")

    @property
    def display_name(self) -> str:
        """What people read, such as ``Python 3 · 1 GPU``."""
        if self.size is None:
            return self.spec.display_name
        return f"{self.spec.display_name} · {self.size.display_name or self.size.name}"


def parse_spec(item: Object) -> KernelSpec:
    """A KernelSpec from a JupyterKernelSpec object; raises InvalidSpecError if it has no image."""
    name, spec = item["metadata"]["name"], item.get("spec", {})
    if not spec.get("image"):
        raise InvalidSpecError(f"JupyterKernelSpec {name}: spec.image is missing; name the image its kernels run.")
    return KernelSpec(
        name=name,
        display_name=spec.get("displayName") or name,
        language=spec.get("language") or "python",
        image=spec["image"],
        command=tuple(spec.get("command") or DEFAULT_COMMAND),
        env=tuple(spec.get("env") or ()),
        sizes=tuple(spec.get("sizes") or ()),
        template=(spec.get("template") or {}).get("name", ""),
        interrupt_mode=spec.get("interruptMode") or "message",
        image_pull_policy=spec.get("imagePullPolicy") or "",
        debugger=bool(spec.get("debugger", False)),
        kernel_info=spec.get("kernelInfo") or {},
    )


def _seconds(size: Object, key: str) -> timedelta | None:
    return timedelta(seconds=size[key]) if size.get(key) else None


def parse_size(item: Object) -> Size:
    """A Size from a JupyterKernelTemplate object."""
    spec = item.get("spec", {})
    size = spec.get("size") or {}
    return Size(
        name=item["metadata"]["name"],
        display_name=size.get("displayName", ""),
        resources={key: str(value) for key, value in (size.get("resources") or {}).items()},
        idle_timeout=_seconds(size, "idleTimeoutSeconds"),
        start_timeout=_seconds(size, "startTimeoutSeconds") or timedelta(minutes=10),
        queue_timeout=_seconds(size, "queueTimeoutSeconds"),
        node_selector=size.get("nodeSelector") or {},
        tolerations=tuple(size.get("tolerations") or ()),
        priority_class=size.get("priorityClassName", ""),
        shared_memory=str(size.get("sharedMemory", "")),
        template=spec.get("template") or {},
    )


def choices_of(spec: KernelSpec, sizes: Mapping[str, Size]) -> list[Choice]:
    """The launcher's entries of one kernelspec. A size that does not exist is left out."""
    if spec.sizes:
        return [Choice(spec, sizes[name]) for name in spec.sizes if name in sizes]
    return [Choice(spec, None)]


def all_choices(specs: Iterable[KernelSpec], sizes: Mapping[str, Size]) -> dict[str, Choice]:
    """Every entry of the launcher by name."""
    return {choice.name: choice for spec in specs for choice in choices_of(spec, sizes)}
