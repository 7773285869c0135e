"""Under which security context a kernel runs, and its sidecars.

Pure. By default what the restricted pod security level asks for, with the user and groups of the user's own server,
since both write to one home. An administrator's template may say otherwise, field by field; nobody else can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pod_security(given: Mapping[str, Any], uid: int, gid: int, fs_group: int | None) -> dict[str, Any]:
    """A pod's securityContext: the template's fields, else the default's."""
    made = {
        "runAsNonRoot": given.get("runAsUser", uid) != 0,  # a root that says it is none never starts
        "runAsUser": uid,
        "runAsGroup": gid,
        "seccompProfile": {"type": "RuntimeDefault"},
        **given,
    }
    return made if fs_group is None else {"fsGroup": fs_group, **made}


def container_security(given: Mapping[str, Any]) -> dict[str, Any]:
    """A container's securityContext: the template's fields, else the default's."""
    made = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, **given}
    added = (given.get("capabilities") or {}).get("add") or ()
    powerful = given.get("privileged") or {"SYS_ADMIN", "CAP_SYS_ADMIN", "ALL"} & set(added)
    if powerful and "allowPrivilegeEscalation" not in given:
        del made["allowPrivilegeEscalation"]  # the API server refuses the contradiction
    if given.get("runAsUser") == 0:
        made.setdefault("runAsNonRoot", False)
    return made


def secured(pod: Mapping[str, Any], uid: int, gid: int, fs_group: int | None) -> dict[str, Any]:
    """A pod spec with both, and without a token unless the template names whose."""
    made = {**pod, "securityContext": pod_security(pod.get("securityContext") or {}, uid, gid, fs_group)}
    for kind in ("containers", "initContainers"):
        if kind in made:
            made[kind] = [
                {**container, "securityContext": container_security(container.get("securityContext") or {})}
                for container in made[kind]
            ]
    if not made.get("serviceAccountName"):
        made["automountServiceAccountToken"] = False
        made.setdefault("enableServiceLinks", False)
    return made
