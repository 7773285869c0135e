"""What ``kubectl describe`` tells of a kernel: an Event for each turn of its life that people ask about.

Pure. Waiting for a node is told by the scheduler's own Events on the pod; what has no pod is told here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kernel_core.kernel import Kernel, Phase, Reason, Status, format_time
from kernel_core.names import API_VERSION, safe_slug

COMPONENT = "kernel-controller"
REFUSALS = frozenset({Reason.QUOTA_EXCEEDED, Reason.ADMISSION_REFUSED, Reason.KERNEL_SPEC_NOT_FOUND})


def _words(before: Status, after: Status) -> tuple[str, str, str] | None:
    """Type, reason and message of the Event that a change of status deserves."""
    if after.phase is Phase.PENDING and after.reason in REFUSALS and after.reason != before.reason:
        return "Warning", after.reason, after.message
    if after.phase is before.phase:
        return None
    if after.phase is Phase.RUNNING:
        return "Normal", "Started", f"Incarnation {after.incarnation} answered in pod {after.pod_name}."
    if after.phase is Phase.SUSPENDED and after.incarnation:
        return "Normal", "Suspended", f"Incarnation {after.incarnation} gave its resources back: {after.reason}."
    if after.phase is Phase.FAILED:
        return "Warning", after.reason, after.message or f"Incarnation {after.incarnation} ended unasked."
    return None


def event_of(kernel: Kernel, after: Status, namespace: str, now: datetime) -> dict[str, Any] | None:
    """The Event for a kernel's new status, or None if it is no news."""
    words = _words(kernel.status, after)
    if words is None:
        return None
    kind, reason, message = words
    at = format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{safe_slug(kernel.name, 200)}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "JupyterKernel",
            "name": kernel.name,
            "namespace": namespace,
            "uid": kernel.uid,
            "resourceVersion": kernel.resource_version,
        },
        "type": kind,
        "reason": str(reason),
        "message": message[:1024],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": kernel.managed_by,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
