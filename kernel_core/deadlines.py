"""When a kernel has run, started or waited long enough.

Every rule here is a function of ``now``: callers own the clock, tests move it. Nothing in this module knows
about pods or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from kernel_core.kernel import ExecutionState, Reason

STOP_LIMIT = timedelta(seconds=2)
"""How long a kernel may take to end by itself after shutdown_request, before its pod is deleted."""

ACTIVITY_WRITE_INTERVAL = timedelta(seconds=5)
"""Shortest time between two status writes that only tell of activity; below it the writes are the load."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment after which something must change."""

    at: datetime
    reason: Reason
    limit: timedelta

    def over(self, now: datetime) -> bool:
        """Whether the moment has come."""
        return now >= self.at


@dataclass(frozen=True, slots=True)
class Activity:
    """What the broker last said of a running kernel."""

    state: ExecutionState
    at: datetime


def idle_deadline(activity: Activity | None, idle_timeout: timedelta | None) -> Deadline | None:
    """When a running kernel must be suspended for idleness; None while it is busy or may idle for ever.

    Without a word from the broker a kernel counts as busy: it was adopted and has not answered yet.
    """
    if activity is None or idle_timeout is None or activity.state is not ExecutionState.IDLE:
        return None
    return Deadline(activity.at + idle_timeout, Reason.IDLE, idle_timeout)


def start_deadline(scheduled: datetime | None, start_timeout: timedelta | None) -> Deadline | None:
    """When a pod that is on a node must have answered."""
    if scheduled is None or start_timeout is None:
        return None
    return Deadline(scheduled + start_timeout, Reason.START_TIMEOUT, start_timeout)


def queue_deadline(wanted: datetime | None, queue_timeout: timedelta | None) -> Deadline | None:
    """When a kernel that waits for its resources gives up; sizes have no such limit by default."""
    if wanted is None or queue_timeout is None:
        return None
    return Deadline(wanted + queue_timeout, Reason.QUEUE_TIMEOUT, queue_timeout)


def retention_deadline(parked_since: datetime, retention: timedelta | None) -> Deadline | None:
    """When a kernel that holds nothing and that nobody came back for is deleted; None is never."""
    if retention is None:
        return None
    return Deadline(parked_since + retention, Reason.RETENTION, retention)
