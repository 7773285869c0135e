"""A kernel and its pod as values: what stands in the objects, parsed once at the border.

Pure. Nothing here decides; the words are those of ``status`` and ``spec``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from kernel_core.names import KERNEL_CONTAINER, LABEL_INCARNATION, LABEL_KERNEL, kernelspec_name

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""


class OperatingMode(StrEnum):
    """What is wanted of a kernel (intent)."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"


class Phase(StrEnum):
    """What a kernel is doing (observation)."""

    SUSPENDED = "Suspended"
    """Holds nothing; a Run wakes it."""
    PENDING = "Pending"
    """Wanted, and not on a node yet. Waiting is normal, never an error."""
    STARTING = "Starting"
    """On a node: image, container, interpreter."""
    RUNNING = "Running"
    """Has answered in this incarnation. Busy or idle is another question."""
    SUSPENDING = "Suspending"
    """Being put to sleep; its pod is going."""
    FAILED = "Failed"
    """Ended unasked. Holds nothing, since its pod is deleted first."""
    TERMINATING = "Terminating"
    """Deletion was asked for."""


class Reason(StrEnum):
    """Why a kernel is in its phase. One word each, as Kubernetes has it."""

    NOT_STARTED = "NotStarted"
    IDLE = "Idle"
    REQUESTED = "Requested"
    INTERRUPTED = "Interrupted"
    RECLAIMED = "Reclaimed"

    CREATING = "Creating"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    ADMISSION_REFUSED = "AdmissionRefused"
    KERNEL_SPEC_NOT_FOUND = "KernelSpecNotFound"
    SCHEDULED = "Scheduled"
    CONTAINER_CREATING = "ContainerCreating"
    CONNECTING = "Connecting"
    ANSWERED = "Answered"
    RESTARTING = "Restarting"
    DELETED = "Deleted"

    POD_DELETED = "PodDeleted"
    EXITED = "Exited"
    ERROR = "Error"
    BUSY = "Busy"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    START_TIMEOUT = "StartTimeout"
    QUEUE_TIMEOUT = "QueueTimeout"
    RETENTION = "RetentionOver"


class ExecutionState(StrEnum):
    """Jupyter's own word for what a running kernel does."""

    STARTING = "starting"
    BUSY = "busy"
    IDLE = "idle"


SUSPEND_REASONS = frozenset({Reason.IDLE, Reason.REQUESTED, Reason.INTERRUPTED, Reason.RECLAIMED})


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a kernel is: a user and one of their servers ("" is the default server)."""

    user: str
    server: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What the controller has observed. ``reason`` is a string: pods bring words of their own."""

    phase: Phase = Phase.SUSPENDED
    reason: str = Reason.NOT_STARTED
    message: str = ""
    incarnation: int = 0
    observed_run_request: int = 0
    observed_generation: int = 0
    pod_name: str = ""
    pod_ip: str = ""
    node_name: str = ""
    accelerators: str = ""
    execution_state: str = ""
    last_activity: datetime | None = None
    idle_since: datetime | None = None
    ready_since: datetime | None = None
    """When Ready last changed."""
    ending: str = ""
    """Why the current pod is going although nobody asked, kept until it is gone."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One JupyterKernel."""

    name: str
    uid: str
    resource_version: str
    generation: int
    owner: Owner
    managed_by: str
    kernelspec: str
    size: str
    operating_mode: OperatingMode
    suspend_reason: str
    run_request: int
    working_dir: str
    idle_timeout: timedelta | None
    retention: timedelta | None
    created: datetime
    deleting: bool
    status: Status = field(default_factory=Status)
    written: bool = False
    """Whether a status was ever written."""

    @property
    def id(self) -> str:
        """Jupyter's kernel id."""
        return self.name

    @property
    def kernelspec_name(self) -> str:
        """What Jupyter calls the kernelspec."""
        return kernelspec_name(self.kernelspec, self.size)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a pod ended."""

    reason: str
    message: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A kernel's pod, as far as decisions need it."""

    name: str
    uid: str
    kernel: str
    incarnation: int
    node: str
    ip: str
    running: bool
    """The kernel's container has started and has not ended."""
    waiting_reason: str
    waiting_message: str
    unscheduled_message: str
    ended: Ended | None
    deleting: bool
    accelerators: str
    disrupted: Ended | None = None
    """Who takes the pod away, if the cluster said so: preemption, eviction, a lost node."""


def parse_time(text: str | None) -> datetime | None:
    """An aware UTC time from RFC 3339, or None."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_status(status: Object) -> Status:
    """The status of a JupyterKernel object. A field may be absent or null; both are empty."""
    return Status(
        phase=Phase(status.get("phase") or Phase.SUSPENDED),
        reason=status.get("reason") or Reason.NOT_STARTED,
        message=status.get("message") or "",
        incarnation=status.get("incarnation") or 0,
        observed_run_request=status.get("observedRunRequest") or 0,
        observed_generation=status.get("observedGeneration") or 0,
        pod_name=status.get("podName") or "",
        pod_ip=status.get("podIP") or "",
        node_name=status.get("nodeName") or "",
        accelerators=status.get("accelerators") or "",
        execution_state=status.get("executionState") or "",
        last_activity=parse_time(status.get("lastActivity")),
        idle_since=parse_time(status.get("idleSince")),
        ready_since=_ready_since(status),
        ending=status.get("ending") or "",
    )


def _ready_since(status: Object) -> datetime | None:
    conditions = status.get("conditions") or []
    return next((parse_time(c.get("lastTransitionTime")) for c in conditions if c["type"] == "Ready"), None)


def status_json(status: Status, generation: int) -> dict[str, Any]:
    """A Status as it is written; empty values are written too, so that a merge clears what is over."""
    ready = status.phase is Phase.RUNNING
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": status.reason or status.phase.value,
        "message": status.message,
        "lastTransitionTime": format_time(status.ready_since) if status.ready_since else None,
        "observedGeneration": generation,
    }
    return {
        "phase": status.phase.value,
        "reason": str(status.reason),
        "message": status.message,
        "incarnation": status.incarnation,
        "observedRunRequest": status.observed_run_request,
        "observedGeneration": generation,
        "podName": status.pod_name or None,
        "podIP": status.pod_ip or None,
        "nodeName": status.node_name or None,
        "accelerators": status.accelerators or None,
        "executionState": status.execution_state or None,
        "lastActivity": format_time(status.last_activity) if status.last_activity else None,
        "idleSince": format_time(status.idle_since) if status.idle_since else None,
        "ending": status.ending or None,
        "conditions": [condition],
    }


def parse_kernel(item: Object) -> Kernel:
    """A Kernel from a JupyterKernel object, as the API server sends it."""
    meta, spec, status = item["metadata"], item.get("spec", {}), item.get("status")
    owner = spec.get("owner", {})
    idle, retention = spec.get("idleTimeoutSeconds"), spec.get("retentionSeconds")
    return Kernel(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        owner=Owner(owner.get("user", ""), owner.get("server", "")),
        managed_by=spec.get("managedBy", ""),
        kernelspec=spec.get("kernelSpec", ""),
        size=spec.get("size", ""),
        operating_mode=OperatingMode(spec.get("operatingMode") or OperatingMode.SUSPENDED),
        suspend_reason=spec.get("suspendReason") or "",
        run_request=spec.get("runRequest", 0),
        working_dir=spec.get("workingDir", ""),
        idle_timeout=timedelta(seconds=idle) if idle else None,
        retention=timedelta(seconds=retention) if retention else None,
        created=parse_time(meta["creationTimestamp"]) or datetime.fromtimestamp(0, UTC),
        deleting="deletionTimestamp" in meta,
        status=parse_status(status) if status else Status(),
        written=bool(status),
    )


def accelerators_of(containers: Sequence[Object]) -> str:
    """The extended resources that containers ask for, as people write them: ``nvidia.com/gpu ×2``."""
    totals: dict[str, int] = {}
    for container in containers:
        requests = (container.get("resources") or {}).get("limits") or {}
        for name, quantity in requests.items():
            if "/" in name and str(quantity).isdigit() and int(quantity):
                totals[name] = totals.get(name, 0) + int(quantity)
    return ", ".join(f"{name} ×{count}" for name, count in sorted(totals.items()))


DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
}
"""Kubernetes' reasons of the condition DisruptionTarget, as ours."""


def _disrupted(status: Object) -> Ended | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and condition.get("status") == "True":
            word = condition.get("reason", "")
            return Ended(DISRUPTIONS.get(word, word or Reason.POD_DELETED), condition.get("message", ""))
    return None


def _kernel_containers(status: Object) -> Sequence[Object]:
    """The kernel's container, or all if none is called so: a sidecar may end without the kernel."""
    containers: Sequence[Object] = status.get("containerStatuses") or []
    return [c for c in containers if c.get("name") == KERNEL_CONTAINER] or containers


def _ended(status: Object) -> Ended | None:
    over = status.get("phase") in ("Failed", "Succeeded")
    if over and (disrupted := _disrupted(status)) is not None:
        return disrupted  # its containers only say that they were killed
    if over and status.get("reason"):
        return Ended(status["reason"], status.get("message") or "")
    for container in _kernel_containers(status):
        terminated = (container.get("state") or {}).get("terminated")
        if terminated:
            code = terminated.get("exitCode")
            reason = terminated.get("reason") or (Reason.EXITED if code == 0 else Reason.ERROR)
            if reason == "Completed":
                reason = Reason.EXITED
            return Ended(reason, terminated.get("message", ""), code)
    if over:
        return Ended(Reason.EXITED if status["phase"] == "Succeeded" else Reason.ERROR, status.get("message") or "")
    return None


def parse_pod(item: Object) -> Pod:
    """A Pod from a pod object that a controller of ours made."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    labels = meta.get("labels") or {}
    containers = _kernel_containers(status)
    waiting: Object = next((c["state"]["waiting"] for c in containers if (c.get("state") or {}).get("waiting")), {})
    scheduled: Object = next((c for c in status.get("conditions") or [] if c["type"] == "PodScheduled"), {})
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        kernel=labels.get(LABEL_KERNEL, ""),
        incarnation=int(labels.get(LABEL_INCARNATION, "0")),
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        running=bool(containers) and all("running" in (c.get("state") or {}) for c in containers),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        unscheduled_message=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        ended=_ended(status),
        deleting="deletionTimestamp" in meta,
        accelerators=accelerators_of(spec.get("containers") or []),
        disrupted=_disrupted(status),
    )
