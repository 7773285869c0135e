"""Starts the control plane on free loopback ports and writes the kubeconfig of its administrator."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local_cluster.processes import Process, ProcessError

READY_LIMIT = 90.0
"""Seconds within which the API server must be ready, on a busy machine."""

# They write Endpoints, which refuse loopback addresses; the process node needs none.
CONTROLLERS = "*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller"


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()


def kubeconfig(server: str, authority: Path, token: str, namespace: str = "default") -> str:
    """A kubeconfig with a bearer token, as JSON, which is YAML too."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": str(authority)}}],
            "users": [{"name": "local", "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local", "namespace": namespace}}],
            "current-context": "local",
        },
        indent=2,
    )


def write_private(path: Path, text: str) -> Path:
    """Write a file for its owner's eyes only."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path


class ControlPlane:
    """etcd, API server, controller manager and scheduler of one cluster."""

    def __init__(self, program: Path, directory: Path, service_range: str) -> None:
        self._program = program
        self._dir = directory
        self._service_range = service_range
        self._stack = AsyncExitStack()
        self._processes: dict[str, Process] = {}
        self.server = ""
        self.authority = directory / "pki" / "apiserver.crt"
        self.admin_token = secrets.token_hex(24)
        self.kubeconfig = directory / "kubeconfig"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def process(self, component: str) -> Process:
        """One component, such as ``kube-apiserver``; tests end and start it again."""
        return self._processes[component]

    async def _component(self, name: str, *flags: str) -> Process:
        argv = [str(self._program), name, *flags]
        process = Process(name, argv, log=self._dir / "logs" / f"{name}.log", cwd=self._dir)
        self._processes[name] = process
        self._stack.push_async_callback(process.stop)
        await process.start()
        return process

    def _keys(self) -> tuple[Path, Path]:
        pki = self._dir / "pki"
        pki.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return (
            write_private(pki / "sa.key", private.decode()),
            write_private(pki / "sa.pub", public.decode()),
        )

    async def _start(self) -> None:
        client, peer, api, manager, scheduler = free_ports(5)
        signing, verifying = await asyncio.to_thread(self._keys)
        tokens = write_private(self._dir / "pki" / "tokens.csv", f'{self.admin_token},admin,admin,"system:masters"\n')
        self.server = f"https://127.0.0.1:{api}"
        etcd = f"http://127.0.0.1:{client}"
        await self._component(
            "etcd",
            f"--data-dir={self._dir / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        await self._component(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={api}",
            f"--cert-dir={self._dir / 'pki'}",
            f"--service-cluster-ip-range={self._service_range}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={verifying}",
            f"--service-account-signing-key-file={signing}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={tokens}",
            "--allow-privileged",
            "--endpoint-reconciler-type=none",
            f"--audit-log-path={self._dir / 'logs' / 'audit.log'}",
            f"--audit-policy-file={self._audit_policy()}",
        )
        await self._ready(api)
        write_private(self.kubeconfig, kubeconfig(self.server, self.authority, self.admin_token))
        common = [
            f"--kubeconfig={self.kubeconfig}",
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--kube-api-qps=300",
            "--kube-api-burst=500",
        ]
        await self._component(
            "kube-controller-manager",
            *common,
            f"--secure-port={manager}",
            f"--service-account-private-key-file={signing}",
            f"--root-ca-file={self.authority}",
            "--use-service-account-credentials=false",
            f"--flex-volume-plugin-dir={self._dir / 'volume-plugins'}",  # else it makes one in /usr/libexec
            f"--controllers={CONTROLLERS}",
        )
        await self._component("kube-scheduler", *common, f"--secure-port={scheduler}")

    def _audit_policy(self) -> Path:
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
                {"level": "None"},
            ],
        }
        path = self._dir / "pki" / "audit-policy.json"
        path.write_text(json.dumps(policy))
        return path

    async def _ready(self, port: int) -> None:
        url = f"https://127.0.0.1:{port}/readyz"
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # its certificate is made while we wait
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            try:
                async with asyncio.timeout(READY_LIMIT):
                    while not await self._answers(http, url, context):
                        await asyncio.sleep(0.1)
            except TimeoutError:
                api = self._processes["kube-apiserver"]
                raise ProcessError(
                    f"kube-apiserver was not ready within {READY_LIMIT:.0f} s. {api.last_words()}"
                ) from None

    async def _answers(self, http: aiohttp.ClientSession, url: str, context: ssl.SSLContext) -> bool:
        for process in self._processes.values():
            process.check()
        try:
            async with http.get(url, ssl=context) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
