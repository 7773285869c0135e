"""What to do next about one kernel: data, not deeds.

``make_plan`` is a pure function of the object, its pods, the facts and ``now``. The shell that applies a plan
acts on children first and writes the status once, and only if it changed; each action is idempotent, so a
plan may be cut short anywhere and made again by another process.

What could not be told from the objects afterwards is written before the deed, in a plan of its own: the number
of an incarnation before its pod is made, and that a pod is to go (and why) before it is deleted. Otherwise a Run
that comes in that moment would find its pod deleted and take it for the deed of a stranger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kernel_core.deadlines import (
    ACTIVITY_WRITE_INTERVAL,
    Deadline,
    idle_deadline,
    queue_deadline,
    retention_deadline,
    start_deadline,
)
from kernel_core.kernel import Kernel, Phase, Pod, Reason, Status
from kernel_core.lifecycle import (
    Facts,
    asks_new_life,
    current_pod,
    ending_of,
    observe_pod,
    overdue_message,
    suspend_reason,
    wanted,
    without_pod,
)

RETENTION_CHECK = timedelta(hours=1)
"""Pause between two looks at a kernel whose retention is over and whose notebook is still open."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a kernel of its size may wait and start; None is for ever."""

    start: timedelta | None = timedelta(minutes=10)
    queue: timedelta | None = None


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Make Secret and pod of an incarnation that the status already names."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class RemovePod:
    """Ask the kernel to end if it runs, then delete its pod and Secret."""

    name: str
    uid: str
    incarnation: int
    ask_kernel: bool


@dataclass(frozen=True, slots=True)
class SuspendForIdle:
    """Write the intent to suspend, if the broker agrees."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class ConfirmAbsence:
    """Ask the API server itself whether the pod is gone: our copy not having it is no proof."""

    pod_name: str


@dataclass(frozen=True, slots=True)
class DeleteKernel:
    """Delete the object of a kernel that nobody came back for, if no notebook is open on it."""


Action = CreatePod | RemovePod | SuspendForIdle | ConfirmAbsence | DeleteKernel


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in order, then the status to write (the same object if nothing changed)."""

    status: Status
    actions: tuple[Action, ...] = ()
    look_again_at: datetime | None = None


def make_plan(kernel: Kernel, pods: Sequence[Pod], facts: Facts, limits: Limits, now: datetime) -> Plan:
    """The next step for one kernel; an empty plan when all is as it should be."""
    if kernel.deleting:
        # Not left to the garbage collector: a finalizer, or a deletion told to orphan, would keep the GPU meanwhile.
        terminating = replace(kernel.status, phase=Phase.TERMINATING, reason=Reason.DELETED, message="")
        return Plan(terminating, tuple(_remove(p, ask=p.running and not p.ended) for p in pods if not p.deleting))
    # A kernel that was seen to hold nothing owns no pod: one that turns up late, because the answer to its creation
    # was lost, is a stranger too.
    pod = None if kernel.status.phase in (Phase.SUSPENDED, Phase.FAILED) else current_pod(kernel, pods)
    strangers = [p for p in pods if p is not pod]
    if pod:
        plan = _with_pod(kernel, pod, facts, limits, now)
    else:
        plan = _without_pod(kernel, facts, limits, now, strangers=bool(strangers))
    sweep = tuple(_remove(p, ask=False) for p in strangers if not p.deleting)
    status = _settled(kernel.status, plan.status, now)
    status, again = _throttled(kernel, status, facts, now)
    return Plan(status, sweep + plan.actions, _soonest(plan.look_again_at, again))


def _with_pod(kernel: Kernel, pod: Pod, facts: Facts, limits: Limits, now: datetime) -> Plan:
    status = kernel.status
    if not wanted(kernel):
        return _suspending(kernel, suspend_reason(kernel), pod)
    if asks_new_life(kernel):
        return _suspending(kernel, Reason.RESTARTING, pod)
    if status.phase is Phase.SUSPENDING:
        # Woken again: the kernel may have been told to end already, so it gets a new pod once this one is gone.
        return _suspending(kernel, status.reason, pod)
    deadline = _deadline(kernel, pod, facts, limits)
    overdue = deadline if deadline and deadline.over(now) else None
    ending, message = ending_of(kernel, pod, overdue)
    if ending:
        return _leaving(kernel, replace(status, reason=ending, message=message, ending=ending), pod)
    status = observe_pod(kernel, pod, facts)
    if status.phase is not Phase.RUNNING:
        return Plan(status, (), deadline.at if deadline else None)
    idle = idle_deadline(facts.activity, kernel.idle_timeout)
    if idle and idle.over(now):
        return Plan(status, (SuspendForIdle(pod.incarnation),), now + timedelta(seconds=1))
    return Plan(status, (), idle.at if idle else None)


def _without_pod(kernel: Kernel, facts: Facts, limits: Limits, now: datetime, *, strangers: bool) -> Plan:
    status, phase = kernel.status, kernel.status.phase
    bare = without_pod(status)
    if status.ending and phase is not Phase.SUSPENDING:
        return Plan(replace(bare, phase=Phase.FAILED, reason=status.ending))
    if not wanted(kernel):
        if phase is Phase.FAILED:
            return _parked(kernel, bare, now)
        if phase is Phase.PENDING and not facts.absent:
            # Its pod may have been made by a call whose answer was lost.
            return Plan(status, (ConfirmAbsence(status.pod_name),))
        since = status.idle_since
        if since is None and status.incarnation and phase is not Phase.SUSPENDED:
            since = now.replace(microsecond=0)
        parked = replace(bare, phase=Phase.SUSPENDED, reason=suspend_reason(kernel), message="", idle_since=since)
        return _parked(kernel, parked, now)
    if strangers:
        return Plan(status)  # at most one pod a kernel: the old one goes first
    if phase in (Phase.STARTING, Phase.RUNNING):
        if asks_new_life(kernel):
            return Plan(_raised(kernel, bare))
        if not facts.absent:
            return Plan(status, (ConfirmAbsence(status.pod_name),))
        return Plan(
            replace(bare, phase=Phase.FAILED, reason=Reason.POD_DELETED, message="The pod was deleted from outside.")
        )
    if phase is Phase.FAILED and not asks_new_life(kernel):
        return _parked(kernel, bare, now)
    if phase is not Phase.PENDING:
        return Plan(_raised(kernel, bare))
    if asks_new_life(kernel):
        return Plan(replace(status, observed_run_request=kernel.run_request))  # the one that is about to begin
    refusal = facts.refusal
    if refusal is None or refusal.incarnation != status.incarnation:
        return Plan(status, (CreatePod(status.incarnation),))
    deadline = queue_deadline(facts.wanted_at, limits.queue)
    if deadline and deadline.over(now):
        message = overdue_message(deadline, refusal.message)
        return Plan(replace(bare, phase=Phase.FAILED, reason=deadline.reason, message=message))
    refused = replace(bare, reason=refusal.reason, message=refusal.message)
    if now < refusal.retry_at:
        return Plan(refused, (), _soonest(refusal.retry_at, deadline.at if deadline else None))
    return Plan(refused, (CreatePod(status.incarnation),))


def _parked(kernel: Kernel, status: Status, now: datetime) -> Plan:
    """A kernel that holds nothing, until nobody has come back for its retention time."""
    deadline = retention_deadline(status.idle_since or status.last_activity or kernel.created, kernel.retention)
    if deadline is None:
        return Plan(status)
    if deadline.over(now):
        return Plan(status, (DeleteKernel(),), now + RETENTION_CHECK)
    return Plan(status, (), deadline.at)


def _raised(kernel: Kernel, bare: Status) -> Status:
    """The next incarnation, written before anything of it is made."""
    return replace(
        bare,
        phase=Phase.PENDING,
        reason=Reason.CREATING,
        message="",
        incarnation=kernel.status.incarnation + 1,
        observed_run_request=kernel.run_request,
        idle_since=None,
    )


def _suspending(kernel: Kernel, reason: str, pod: Pod) -> Plan:
    return _leaving(kernel, replace(kernel.status, phase=Phase.SUSPENDING, reason=reason, message="", ending=""), pod)


def _leaving(kernel: Kernel, status: Status, pod: Pod) -> Plan:
    """A pod that has to go: first it is written that it goes and why, then it is deleted."""
    told = (status.phase, status.ending) == (kernel.status.phase, kernel.status.ending)
    if pod.deleting or not told:
        return Plan(status)
    return Plan(status, (_remove(pod, ask=pod.running and pod.ended is None),))


def _remove(pod: Pod, *, ask: bool) -> RemovePod:
    return RemovePod(pod.name, pod.uid, pod.incarnation, ask)


def _deadline(kernel: Kernel, pod: Pod, facts: Facts, limits: Limits) -> Deadline | None:
    if facts.answered == pod.incarnation or kernel.status.phase is Phase.RUNNING:
        return None
    if pod.node:
        return start_deadline(facts.placed_at, limits.start)
    return queue_deadline(facts.wanted_at, limits.queue)


def _settled(old: Status, new: Status, now: datetime) -> Status:
    """Ready's time of change, set when it changes."""
    if (old.phase is Phase.RUNNING) == (new.phase is Phase.RUNNING) and old.ready_since is not None:
        return new if new.ready_since == old.ready_since else replace(new, ready_since=old.ready_since)
    return replace(new, ready_since=now.replace(microsecond=0))


def _throttled(kernel: Kernel, new: Status, facts: Facts, now: datetime) -> tuple[Status, datetime | None]:
    """Hold back a write that would tell of nothing but activity, if the last one was just now."""
    old = kernel.status
    if new.phase is not Phase.RUNNING or old.phase is not Phase.RUNNING:
        return new, None
    quiet = replace(
        new,
        reason=old.reason,
        execution_state=old.execution_state,
        last_activity=old.last_activity,
        idle_since=old.idle_since,
    )
    if quiet != old or facts.activity_written_at is None or new == old:
        return new, None
    due = facts.activity_written_at + ACTIVITY_WRITE_INTERVAL
    return (old, due) if now < due else (new, None)


def _soonest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)
