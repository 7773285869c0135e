"""What the hub's service account may do in the namespace of its user servers: plain data, the fewest verbs.

``hub_rules()`` are the rules of a Role; there is no ClusterRole. The arguments name the features that need more.
"""

from __future__ import annotations

from typing import Any

NOTEBOOK_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["kubeflow.tkestack.io"],
        "resources": ["jupyternotebooks"],
        "verbs": ["get", "create", "patch", "delete"],
    },
    {"apiGroups": ["kubeflow.tkestack.io"], "resources": ["jupyternotebooks/status"], "verbs": ["patch"]},
]
"""What ElasticSpawner needs beyond KubeSpawner, for a hub that has a Role already."""


def hub_rules(*, delete_pvc: bool = True, services: bool = False, internal_ssl: bool = False) -> list[dict[str, Any]]:
    """The rules for a hub with ElasticSpawner.

    ``delete_pvc``: homes go with their users (KubeSpawner's default). ``services`` and ``internal_ssl``: as
    ``services_enabled`` of the spawner and ``internal_ssl`` of the Hub.
    """
    claim_verbs = ["get", "create", *(["delete"] if delete_pvc else [])]
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": claim_verbs},
    ]
    made = [*(["services"] if services or internal_ssl else []), *(["secrets"] if internal_ssl else [])]
    if made:
        rules.append({"apiGroups": [""], "resources": made, "verbs": ["get", "create", "delete"]})
    return rules + NOTEBOOK_RULES
