"""Which phase a kernel is in, given its object, its pod and what its broker said.

Pure: values in, values out, no clock and no I/O. Phases are derived, never stepped through, so a lost event
changes nothing. DESIGN's table of phases and edges is the source of these rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kernel_core.deadlines import Activity, Deadline
from kernel_core.kernel import (
    SUSPEND_REASONS,
    ExecutionState,
    Kernel,
    OperatingMode,
    Phase,
    Pod,
    Reason,
    Status,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server's refusal to create a pod: a quota, a limit range, a policy."""

    incarnation: int
    reason: Reason
    message: str
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a kernel beside its objects; all of it may be lost and learned again."""

    answered: int = 0
    """The incarnation whose kernel has answered."""
    activity: Activity | None = None
    """What the broker last said of that incarnation."""
    refusal: Refusal | None = None
    absent: bool = False
    """Whether the API server itself, not only our copy, said that there is no pod."""
    placed_at: datetime | None = None
    """When the current pod was first seen on a node."""
    wanted_at: datetime | None = None
    """When the current incarnation was first seen wanted."""
    activity_written_at: datetime | None = None


def wanted(kernel: Kernel) -> bool:
    """Whether a pod is asked for."""
    return kernel.operating_mode is OperatingMode.RUNNING


def asks_new_life(kernel: Kernel) -> bool:
    """Whether somebody raised ``runRequest`` since the current incarnation began."""
    return kernel.run_request > kernel.status.observed_run_request


def current_pod(kernel: Kernel, pods: Sequence[Pod]) -> Pod | None:
    """The pod of the current incarnation."""
    return next((pod for pod in pods if pod.incarnation == kernel.status.incarnation), None)


def suspend_reason(kernel: Kernel) -> str:
    """Why a kernel that is not wanted holds nothing."""
    if kernel.suspend_reason in SUSPEND_REASONS:
        return kernel.suspend_reason
    if kernel.status.incarnation == 0:
        return Reason.NOT_STARTED
    return Reason.REQUESTED


def overdue_message(deadline: Deadline, words: str) -> str:
    """Who waited for what, how long, and what the cluster said of it."""
    seconds = f"{deadline.limit.total_seconds():.0f} s"
    if deadline.reason is Reason.QUEUE_TIMEOUT:
        text = f"No node took its pod within {seconds}"
    else:
        text = f"The kernel had not answered {seconds} after its pod was placed on a node"
    return f"{text}: {words}" if words else f"{text}."


def ending_of(kernel: Kernel, pod: Pod, overdue: Deadline | None) -> tuple[str, str]:
    """Why a pod ends although nobody asked for it, with the words of whoever ended it; ("", "") if it does not."""
    if kernel.status.ending:
        return kernel.status.ending, kernel.status.message
    if pod.ended is not None:
        return pod.ended.reason, pod.ended.message
    if pod.deleting:
        if pod.disrupted is not None:
            return pod.disrupted.reason, pod.disrupted.message
        return Reason.POD_DELETED, "The pod was deleted from outside."
    if overdue is not None:
        return overdue.reason, overdue_message(overdue, pod.waiting_message or pod.unscheduled_message)
    return "", ""


def observe_pod(kernel: Kernel, pod: Pod, facts: Facts) -> Status:
    """The status of a kernel that is wanted and whose pod stands."""
    status = replace(
        kernel.status, pod_name=pod.name, pod_ip=pod.ip, node_name=pod.node, accelerators=pod.accelerators, ending=""
    )
    if not pod.node:
        reason = Reason.UNSCHEDULABLE if pod.unscheduled_message else Reason.CREATING
        return replace(status, phase=Phase.PENDING, reason=reason, message=pod.unscheduled_message)
    if facts.answered == pod.incarnation or kernel.status.phase is Phase.RUNNING:
        return _running(status, facts.activity)
    if pod.waiting_reason:
        return replace(status, phase=Phase.STARTING, reason=pod.waiting_reason, message=pod.waiting_message)
    reason = Reason.CONNECTING if pod.running else Reason.SCHEDULED
    return replace(status, phase=Phase.STARTING, reason=reason, message="")


def _running(status: Status, activity: Activity | None) -> Status:
    if activity is None:
        return replace(
            status,
            phase=Phase.RUNNING,
            reason=Reason.BUSY,
            message="",
            execution_state=ExecutionState.BUSY,
            idle_since=None,
        )
    idle = activity.state is ExecutionState.IDLE
    at = activity.at.replace(microsecond=0)  # what the object can hold: finer times would never settle
    return replace(
        status,
        phase=Phase.RUNNING,
        reason=Reason.IDLE if idle else Reason.BUSY,
        message="",
        execution_state=activity.state.value,
        last_activity=at,
        idle_since=at if idle else None,
    )


def without_pod(status: Status) -> Status:
    """A status that names no pod."""
    return replace(status, pod_name="", pod_ip="", node_name="", accelerators="", execution_state="", ending="")
