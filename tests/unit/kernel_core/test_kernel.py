"""What stands in objects, as values."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from kernel_core.cluster.client import Client
from kernel_core.cluster.store import Kernels
from kernel_core.events import event_of
from kernel_core.kernel import Phase, Reason, Status, parse_kernel, parse_pod, parse_status, status_json
from kernel_core.names import LABEL_INCARNATION, LABEL_KERNEL
from tests.unit.kernel_core.test_life import make_kernel

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
UP = {"name": "kernel", "state": {"running": {}}}


def dead(code: int, reason: str = "Error", name: str = "kernel") -> dict[str, Any]:
    """The status of a container that has ended."""
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}}


def disruption(reason: str) -> dict[str, str]:
    """The condition by which Kubernetes announces that it takes a pod away."""
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "words"}


def pod(**status: Any) -> dict[str, Any]:
    """A pod object of a kernel."""
    labels = {LABEL_KERNEL: "k", LABEL_INCARNATION: "1"}
    return {"metadata": {"name": "p", "uid": "u", "labels": labels}, "spec": {"containers": []}, "status": status}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Running", "containerStatuses": [UP]}, None),
        ({"phase": "Running", "containerStatuses": [UP, dead(0, "Completed", "sidecar")]}, None),
        ({"phase": "Running", "containerStatuses": [dead(137, "OOMKilled"), {**UP, "name": "x"}]}, "OOMKilled"),
        ({"phase": "Succeeded", "containerStatuses": [dead(0, "Completed")]}, Reason.EXITED),
        ({"phase": "Failed", "containerStatuses": [dead(1)]}, Reason.ERROR),
        ({"phase": "Failed", "reason": "Evicted", "containerStatuses": [dead(137)]}, Reason.EVICTED),
        ({"phase": "Failed", "reason": "NodeLost"}, Reason.NODE_LOST),
        (
            {
                "phase": "Failed",
                "conditions": [disruption("PreemptionByScheduler")],
                "containerStatuses": [dead(143)],
            },
            Reason.PREEMPTED,
        ),
        ({"phase": "Failed"}, Reason.ERROR),
        ({}, None),
    ],
)
def test_a_pod_ends_with_the_reason_of_whoever_ended_it(status: dict[str, Any], reason: str | None) -> None:
    """The pod's own word stands above what its containers died of; a sidecar's end is not the kernel's."""
    ended = parse_pod(pod(**status)).ended
    assert (ended.reason if ended else None) == reason


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("PreemptionByScheduler", Reason.PREEMPTED),
        ("EvictionByEvictionAPI", Reason.EVICTED),
        ("DeletionByTaintManager", Reason.NODE_LOST),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_a_pod_that_is_taken_away_says_by_whom(word: str, reason: str) -> None:
    """Before its containers have ended."""
    disrupted = parse_pod(pod(phase="Running", conditions=[disruption(word)])).disrupted
    assert disrupted is not None
    assert (disrupted.reason, disrupted.message) == (reason, "words")


def test_a_status_that_is_written_reads_the_same() -> None:
    """Else every look would write again."""
    status = Status(
        phase=Phase.RUNNING, reason=Reason.IDLE, incarnation=3, observed_run_request=2, observed_generation=7,
        pod_name="p", pod_ip="127.0.0.9", node_name="n", accelerators="nvidia.com/gpu ×1", execution_state="idle",
        last_activity=NOW, idle_since=NOW, ready_since=NOW,
    )  # fmt: skip
    assert parse_status(status_json(status, 7)) == status


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"phase": Phase.STARTING}, {"phase": Phase.RUNNING}, "Started"),
        ({"phase": Phase.SUSPENDING}, {"phase": Phase.SUSPENDED, "reason": Reason.IDLE}, "Suspended"),
        ({"phase": Phase.RUNNING}, {"phase": Phase.FAILED, "reason": Reason.OOM_KILLED}, "OOMKilled"),
        ({"phase": Phase.PENDING}, {"phase": Phase.PENDING, "reason": Reason.QUOTA_EXCEEDED}, "QuotaExceeded"),
        ({"phase": Phase.RUNNING, "reason": Reason.BUSY}, {"phase": Phase.RUNNING, "reason": Reason.IDLE}, None),
        ({"phase": Phase.SUSPENDED}, {"phase": Phase.PENDING, "reason": Reason.CREATING}, None),
    ],
)
def test_a_turn_of_a_life_is_an_event_and_busy_or_idle_is_none(before, after, reason) -> None:
    """What ``kubectl describe`` tells must not drown."""
    event = event_of(make_kernel(incarnation=1, **before), Status(incarnation=1, **after), "ns", NOW)
    assert (event["reason"] if event else None) == reason


def test_a_kernel_that_was_only_opened_is_no_event() -> None:
    """Three thousand of them would be three thousand events."""
    assert event_of(make_kernel(), Status(), "ns", NOW) is None


def parked(number: int) -> dict[str, Any]:
    """The object of a notebook that was opened and never run."""
    name = f"00000000-0000-4000-8000-{number:012d}"
    spec = {
        "owner": {"user": f"user-{number % 50}", "server": ""}, "managedBy": "gw", "kernelSpec": "python3",
        "size": "1-gpu", "operatingMode": "Suspended", "runRequest": 0, "idleTimeoutSeconds": 1200,
        "workingDir": f"/home/jovyan/project-{number}",
    }  # fmt: skip
    meta = {"name": name, "uid": name, "resourceVersion": str(number + 1), "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": meta, "spec": spec, "status": status_json(Status(ready_since=NOW), 1)}


def test_a_parked_kernel_costs_little_memory() -> None:
    """The copy holds values, not objects."""
    kernels, many = Kernels(Client(), "ns", "gw"), 1000
    gc.collect()
    tracemalloc.start()
    for number in range(many):
        kernels.informer.learn(parked(number))
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(list(kernels.all())) == many
    assert used / many < 4096, f"{used / many:.0f} bytes each"
    assert parse_kernel(parked(0)) == kernels.get(parked(0)["metadata"]["name"])
