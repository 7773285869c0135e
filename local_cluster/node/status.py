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
    healthy: bool = True
    """What its readiness probe says; without one it is ready when it runs."""
    begun: bool = True
    """What its startup probe says."""
    last: Mapping[str, Any] | None = None
    """How it ended the last time."""

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return "running" in self.state

    @property
    def ready(self) -> bool:
        """Whether it runs and may be given work."""
        return self.running and self.begun and self.healthy

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
    if any("waiting" in c.state and c.last is None for c in containers):
        return "Pending"
    codes = [c.exit_code for c in containers]
    if all(code is not None for code in codes):
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    return "Running"


def container_status(container: Container, *, init: bool = False) -> dict[str, Any]:
    """One container, as a ContainerStatus; an init container is ready when it has done its work."""
    return {
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "ready": container.ready or (init and container.exit_code == 0),
        "started": container.running and container.begun,
        "restartCount": container.restarts,
        "state": dict(container.state),
        "lastState": dict(container.last or {}),
    }


def _condition(kind: str, holds: bool, unready: Sequence[str], phase: str, now: str) -> dict[str, Any]:
    made = {"type": kind, "status": str(holds), "lastTransitionTime": now, "lastProbeTime": None}
    if not holds and kind in ("Ready", "ContainersReady"):
        if phase in ("Succeeded", "Failed"):
            return {**made, "reason": "PodCompleted" if phase == "Succeeded" else "PodFailed"}
        message = f"containers with unready status: [{' '.join(unready)}]"
        return {**made, "reason": "ContainersNotReady", "message": message}
    return made


def pod_status(
    pod: Mapping[str, Any],
    containers: Sequence[Container],
    *,
    ip: str,
    host_ip: str,
    now: str,
    inits: Sequence[Container] = (),
    sidecars: Sequence[str] = (),
    initialized: bool = True,
    failed: bool = False,
) -> dict[str, Any]:
    """The whole status, as a merge patch. ``sidecars`` names those of ``inits`` that go on running."""
    phase = "Failed" if failed else pod_phase(containers)
    lasting = [*(c for c in inits if c.name in sidecars), *containers]
    unready = [c.name for c in lasting if not c.ready]
    conditions = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    for kind, holds in (
        ("PodReadyToStartContainers", bool(ip)),
        ("Initialized", initialized),
        ("Ready", not unready),
        ("ContainersReady", not unready),
    ):
        new, old = _condition(kind, holds, unready, phase, now), conditions.get(kind, {})
        if any(old.get(key) != new.get(key) for key in ("status", "reason", "message")):
            kept = old.get("lastTransitionTime") if old.get("status") == new["status"] else None
            conditions[kind] = {**new, "lastTransitionTime": kept or now}
    return {
        "phase": phase,
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "hostIP": host_ip,
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "conditions": list(conditions.values()),
        "initContainerStatuses": [container_status(c, init=c.name not in sidecars) for c in inits] or None,
        "containerStatuses": [container_status(c) for c in containers],
    }
