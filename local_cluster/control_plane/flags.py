"""The command lines of the control plane. Pure: addresses and paths in, argument lists out.

Kubernetes' defaults stay wherever they can; each flag that changes one says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local_cluster.slices import Slice

ENDPOINT_CONTROLLERS = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
)
"""Switched off: the API refuses endpoints in the loopback range, where all pods of this node live. The node
forwards Services to ready pods itself."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one control plane lies."""

    directory: Path
    slice: Slice
    etcd_port: int
    etcd_peer_port: int
    api_port: int

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.directory / "pki"

    @property
    def tokens(self) -> Path:
        """The API server's static tokens: administrator and node."""
        return self.directory / "pki" / "tokens.csv"

    @property
    def server(self) -> str:
        """The API's address."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def server_certificate(self) -> Path:
        """Made by the API server itself at its start; also the authority that clients trust."""
        return self.directory / "pki" / "apiserver.crt"

    @property
    def components_kubeconfig(self) -> Path:
        """What controller manager and scheduler use."""
        return self.directory / "pki" / "components.kubeconfig"


def etcd(layout: Layout) -> list[str]:
    """etcd, without fsync: a local cluster's state is not meant to survive a power cut."""
    client = f"https://127.0.0.1:{layout.etcd_port}"
    peer = f"http://127.0.0.1:{layout.etcd_peer_port}"
    pki = layout.pki
    return [
        "etcd",
        "--name=local",
        f"--data-dir={layout.directory / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        "--client-cert-auth",
        f"--trusted-ca-file={pki / 'ca.crt'}",
        f"--cert-file={pki / 'etcd.crt'}",
        f"--key-file={pki / 'etcd.key'}",
    ]


def api_server(layout: Layout) -> list[str]:
    """The API server: RBAC as everywhere, loopback only, client certificates towards etcd and the node."""
    pki = layout.pki
    return [
        "kube-apiserver",
        f"--etcd-servers=https://127.0.0.1:{layout.etcd_port}",
        f"--etcd-cafile={pki / 'ca.crt'}",
        f"--etcd-certfile={pki / 'apiserver-client.crt'}",
        f"--etcd-keyfile={pki / 'apiserver-client.key'}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={layout.api_port}",
        f"--cert-dir={pki}",
        f"--service-cluster-ip-range={layout.slice.services}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--authorization-mode=Node,RBAC",
        f"--token-auth-file={layout.tokens}",
        "--allow-privileged=true",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        # The Service `kubernetes` would get an endpoint in the loopback range, which the API refuses.
        "--endpoint-reconciler-type=none",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """The controller manager with one identity for all controllers, and no throttle.

    One identity for each of some forty controllers costs six seconds at the start.
    """
    return [
        "kube-controller-manager",
        f"--kubeconfig={layout.components_kubeconfig}",
        f"--authentication-kubeconfig={layout.components_kubeconfig}",
        f"--authorization-kubeconfig={layout.components_kubeconfig}",
        f"--service-account-private-key-file={layout.pki / 'service-account.key'}",
        f"--root-ca-file={layout.server_certificate}",
        "--bind-address=127.0.0.1",
        "--secure-port=0",
        "--leader-elect=false",
        # The default lies below /usr, and the controller manager creates it.
        f"--flex-volume-plugin-dir={layout.directory / 'flex-volumes'}",
        "--use-service-account-credentials=false",
        "--kube-api-qps=300",
        "--kube-api-burst=500",
        "--controllers=" + ",".join(["*", *(f"-{name}" for name in ENDPOINT_CONTROLLERS)]),
    ]


def scheduler(layout: Layout) -> list[str]:
    """The scheduler, unthrottled."""
    return [
        "kube-scheduler",
        f"--kubeconfig={layout.components_kubeconfig}",
        f"--authentication-kubeconfig={layout.components_kubeconfig}",
        f"--authorization-kubeconfig={layout.components_kubeconfig}",
        "--bind-address=127.0.0.1",
        "--secure-port=0",
        "--leader-elect=false",
        "--kube-api-qps=300",
        "--kube-api-burst=500",
    ]
