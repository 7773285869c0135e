"""Takes accelerators out of a user server's pod: they belong to kernels, which hold them only while used.

Pure but for the pod that it is given. A profile written for GPU user servers goes on working; its server is
light, and the GPU is a kernel size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

ACCELERATORS = (
    "nvidia.com/*",
    "amd.com/gpu*",
    "gpu.intel.com/*",
    "habana.ai/*",
    "google.com/tpu*",
    "aws.amazon.com/neuron*",
    "huawei.com/*",
    "cambricon.com/*",
    "*/gpu*",
    "*/vgpu*",
    "*/mig-*",
)
"""Names of the extended resources that are accelerators, as shell patterns. Others, such as FUSE devices, stay."""


def is_accelerator(resource: str, patterns: Sequence[str] = ACCELERATORS) -> bool:
    """Whether a resource of this name is left to kernels."""
    return any(fnmatchcase(resource.lower(), pattern.lower()) for pattern in patterns)


def strip_accelerators(pod: Any, patterns: Sequence[str] = ACCELERATORS) -> dict[str, str]:
    """Remove accelerators from every container of a ``V1Pod``; returns what was removed, name to quantity."""
    removed: dict[str, str] = {}
    for holder in _holders(pod.spec):
        resources = _field(holder, "resources")
        for kind in ("requests", "limits"):
            quantities = _field(resources, kind)
            for name in [name for name in quantities or {} if is_accelerator(name, patterns)]:
                removed[name] = str(quantities.pop(name))
    return removed


def _holders(spec: Any) -> Iterable[Any]:
    """Everything in a pod that may ask for resources: the pod itself and all its containers."""
    return (spec, *(_field(spec, "containers") or ()), *(_field(spec, "init_containers") or ()))


def _field(thing: Any, name: str) -> Any:
    """A field of a client model, or of the plain dict that configuration may have put in its place."""
    if isinstance(thing, dict):
        first, *rest = name.split("_")
        return thing.get(first + "".join(word.title() for word in rest), thing.get(name))
    return getattr(thing, name, None)
