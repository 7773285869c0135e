"""What can be done with a cluster by whoever holds its administrator's kubeconfig.

Knows no processes: a test that was only given the path of a kubeconfig has all of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from local_cluster.api import Api, ApiError, Credentials
from local_cluster.kubeconfig import kubeconfig, write_kubeconfig

TOKEN_LIFE = timedelta(days=30)
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Access:
    """A running cluster, seen from outside."""

    def __init__(self, kubeconfig_path: Path, kubectl: Sequence[str]) -> None:
        self.kubeconfig = kubeconfig_path
        self.kubectl = list(kubectl)
        """The argument prefix of kubectl, kubeconfig included."""

    def api(self) -> Api:
        """A client with the administrator's rights; use it as a context manager."""
        return Api(Credentials.from_kubeconfig(self.kubeconfig))

    async def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Create a namespace; one that exists is a success."""
        async with self.api() as api:
            await _ensure(api, "/api/v1/namespaces", {"metadata": {"name": name, "labels": dict(labels or {})}})

    async def service_account(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]] = ()) -> Path:
        """A kubeconfig of a ServiceAccount that may do what a namespaced Role with these rules allows.

        Creates namespace, ServiceAccount, Role and RoleBinding where they are missing, brings the Role's rules up
        to date, and asks for a token. The file lies beside the administrator's kubeconfig, in ``accounts/``.
        """
        credentials = Credentials.from_kubeconfig(self.kubeconfig)
        async with Api(credentials) as api:
            await _ensure(api, "/api/v1/namespaces", {"metadata": {"name": namespace}})
            accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
            await _ensure(api, accounts, {"metadata": {"name": name}})
            base = f"{RBAC}/namespaces/{namespace}"
            role = {"metadata": {"name": name}, "rules": [dict(rule) for rule in rules]}
            if not await _ensure(api, f"{base}/roles", role):
                await api.put(f"{base}/roles/{name}", role)
            binding = {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            await _ensure(api, f"{base}/rolebindings", binding)
            request = {"spec": {"expirationSeconds": int(TOKEN_LIFE.total_seconds())}}
            token = (await api.post(f"{accounts}/{name}/token", request))["status"]["token"]
        directory = self.kubeconfig.parent / "accounts"
        directory.mkdir(mode=0o700, exist_ok=True)
        config = kubeconfig(credentials.server, credentials.ca, token, name, namespace)
        return write_kubeconfig(directory / f"{namespace}.{name}.kubeconfig", config)


async def _ensure(api: Api, collection: str, body: Mapping[str, Any]) -> bool:
    """Create an object; False if it was there."""
    try:
        await api.post(collection, body)
    except ApiError as error:
        if error.reason == "AlreadyExists":
            return False
        raise
    return True
