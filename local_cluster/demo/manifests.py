"""The objects a demo starts with, and who may touch them: applied once, as an administrator would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import crds
from hub_config.rbac import hub_rules
from kernel_core.cluster.client import custom
from kernel_core.names import GROUP, KERNEL_SPECS, KERNEL_TEMPLATES, KERNELS, NOTEBOOKS
from local_cluster.cluster import LocalCluster
from local_cluster.demo.settings import NAMESPACE, DemoSettings

GATEWAY_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": [GROUP],
        "resources": [KERNELS],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": [GROUP], "resources": [f"{KERNELS}/status"], "verbs": ["patch"]},
    {"apiGroups": [GROUP], "resources": [KERNEL_SPECS, KERNEL_TEMPLATES, NOTEBOOKS], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
"""The fewest verbs with which the gateway works."""


async def apply_all(cluster: LocalCluster, settings: DemoSettings) -> None:
    """Custom resources, namespace, kernelspecs and sizes."""
    await cluster.apply_definitions(crds.definitions())
    await cluster.make_namespace(NAMESPACE)
    plurals = {"JupyterKernelSpec": KERNEL_SPECS, "JupyterKernelTemplate": KERNEL_TEMPLATES}
    for item in crds.samples("python-sizes"):
        await cluster.client.create(custom(plurals[item["kind"]]), NAMESPACE, item)


async def gateway_account(cluster: LocalCluster) -> Path:
    """The gateway's kubeconfig."""
    return await cluster.service_account(NAMESPACE, "elastic-gateway", GATEWAY_RULES)


async def hub_account(cluster: LocalCluster) -> Path:
    """The Hub's kubeconfig."""
    return await cluster.service_account(NAMESPACE, "hub", hub_rules())
