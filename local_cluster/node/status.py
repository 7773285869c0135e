"""A pod's status in the kubelet's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of one container."""

    name: str
    image: str
    state: Mapping[str, Any]
    """``waiting``, ``running`` or ``terminated``, as in a ContainerState."""
    restarts: int = 0

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """Its exit code once it has ended."""
        terminated = self.state.get("terminated")
        return terminated["exitCode"] if terminated else None


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The state of a container that is not yet running."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(exit_code: int, started: str, finished: str) -> dict[str, Any]:
    """The state of a container that has ended; 128 and above are signals, as in a shell."""
    reason = "Completed" if exit_code == 0 else "Error"
    return {"terminated": {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": finished}}


def pod_phase(containers: Sequence[Container]) -> str:
    """Pending until every container runs or has run, then Running until all have ended."""
    if any("waiting" in c.state and not c.restarts for c in containers):
        return "Pending"
    codes = [c.exit_code for c in containers]
    if all(code is not None for code in codes):
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    return "Running"


def pod_status(
    pod: Mapping[str, Any], containers: Sequence[Container], *, ip: str, host_ip: str, now: str
) -> dict[str, Any]:
    """The whole status, as a merge patch."""
    ready = all(c.running for c in containers)
    conditions = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    for kind, holds in (
        ("PodReadyToStartContainers", bool(ip)),
        ("Initialized", True),
        ("Ready", ready),
        ("ContainersReady", ready),
    ):
        value = "True" if holds else "False"
        if conditions.get(kind, {}).get("status") != value:
            conditions[kind] = {"type": kind, "status": value, "lastTransitionTime": now, "lastProbeTime": None}
    return {
        "phase": pod_phase(containers),
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "hostIP": host_ip,
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "conditions": list(conditions.values()),
        "containerStatuses": [
            {
                "name": c.name,
                "image": c.image,
                "imageID": c.image,
                "ready": c.running,
                "started": c.running,
                "restartCount": c.restarts,
                "state": dict(c.state),
            }
            for c in containers
        ],
    }
