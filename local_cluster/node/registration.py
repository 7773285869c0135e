"""The Node object and its lease: what the node promises, and that it is alive."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cluster.api import Api, ApiError, ApiUnavailable, Json
from local_cluster.node.settings import NodeSettings

log = logging.getLogger(__name__)

RENEW_EVERY = timedelta(seconds=5)
LEASE_DURATION = timedelta(seconds=40)
RETRY_AFTER = timedelta(seconds=0.5)
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NOT_READY = "node.kubernetes.io/not-ready"
HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "node has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "node has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "node has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "the process node is posting ready status"),
)


def timestamp(moment: datetime) -> str:
    """A moment as the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_object(settings: NodeSettings, address: str, log_port: int, now: datetime) -> Json:
    """The Node as it is created."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": settings.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
        "local-cluster/process-node": "true",
        **settings.labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": settings.name, "labels": labels},
        "spec": {},
        "status": node_status(settings.promises, address, log_port, now, machine),
    }


def node_status(promises: Mapping[str, str], address: str, log_port: int, now: datetime, machine: str) -> Json:
    """The Node's status: only an InternalIP, as the API server would prefer a host name and fail to resolve it."""
    return {
        "capacity": dict(promises),
        "allocatable": dict(promises),
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "nodeInfo": {
            "architecture": machine,
            "bootID": "",
            "containerRuntimeVersion": "bubblewrap://0",
            "kernelVersion": os.uname().release,
            "kubeProxyVersion": "",
            "kubeletVersion": "v1.36.3-process-node",
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "this machine",
            "systemUUID": "",
        },
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": timestamp(now),
            }
            for kind, status, reason, message in HEALTHY
        ],
    }


def lease_object(name: str, now: datetime) -> Json:
    """The node's heartbeat."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": int(LEASE_DURATION.total_seconds()),
            "renewTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


async def register(node_api: Api, admin_api: Api, settings: NodeSettings, address: str, log_port: int) -> None:
    """Create the Node and take away its start-up taint.

    Every new Node is tainted by the API server until a controller has looked at it, which takes seconds at the
    start of a cluster. The node is ready now, and it is the only one.
    """
    body = node_object(settings, address, log_port, datetime.now(UTC))
    created = await node_api.post("/api/v1/nodes", body)
    await node_api.patch(
        f"/api/v1/nodes/{settings.name}/status",
        {"metadata": {"uid": created["metadata"]["uid"]}, "status": body["status"]},
    )
    taints: list[dict[str, Any]] = created["spec"].get("taints") or []
    if any(taint["key"] == NOT_READY for taint in taints):
        kept = [taint for taint in taints if taint["key"] != NOT_READY]
        await admin_api.patch(
            f"/api/v1/nodes/{settings.name}", {"spec": {"taints": kept}}, kind="application/merge-patch+json"
        )


async def keep_lease(api: Api, name: str) -> None:
    """Renew the lease for ever. A failed renewal is tried again soon: the controllers wait forty seconds."""
    path = f"{LEASES}/{name}"
    while True:
        pause = RENEW_EVERY
        body = lease_object(name, datetime.now(UTC))
        try:
            try:
                await api.patch(path, {"spec": body["spec"]}, kind="application/merge-patch+json")
            except ApiError as error:
                if error.code != 404:
                    raise
                await api.post(LEASES, body)
        except (ApiError, ApiUnavailable) as error:
            log.warning("The lease of node %s could not be renewed: %s", name, error)
            pause = RETRY_AFTER
        await asyncio.sleep(pause.total_seconds())
