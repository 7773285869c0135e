"""Makes and removes the pod and the Secret of an incarnation. Each call may be made twice.

It knows how to do it, not when: the plan says that.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from datetime import timedelta

from kernel_core.cluster.client import (
    PODS,
    SECRETS,
    AlreadyExistsError,
    Client,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from kernel_core.cluster.informer import Informer
from kernel_core.kernel import Kernel, Pod, Reason, parse_pod
from kernel_core.manifests import GRACE_SECONDS, ConnectionInfo, Home, connection_secret, kernel_pod
from kernel_core.names import LABEL_MANAGED_BY, pod_name, secret_name
from kernel_core.sizes import KernelSpec, Size

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=GRACE_SECONDS)

FIRST_PORT, LAST_PORT = 20000, 32000
"""Below the range from which systems take ports for outgoing connections."""


class RefusedError(Exception):
    """The cluster, or what the administrator wrote, does not allow the pod now."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def new_connection_info() -> ConnectionInfo:
    """A fresh key and five ports that differ."""
    source = secrets.SystemRandom()
    shell, iopub, stdin, control, heartbeat = source.sample(range(FIRST_PORT, LAST_PORT), 5)
    return ConnectionInfo(secrets.token_hex(32), shell, iopub, stdin, control, heartbeat)


class KernelPods:
    """The pods of one manager's kernels, by kernel."""

    def __init__(self, client: Client, namespace: str, manager: str) -> None:
        self._client = client
        self._namespace = namespace
        self._of: dict[str, dict[str, Pod]] = {}
        selector = {"labelSelector": f"{LABEL_MANAGED_BY}={manager}"}
        self.informer: Informer[Pod] = Informer(client, PODS, namespace, parse_pod, selector=selector)
        self.informer.on_change(self._seen)

    def of(self, kernel: str) -> list[Pod]:
        """The pods of a kernel as last seen."""
        return list(self._of.get(kernel, {}).values())

    def kernels(self) -> list[str]:
        """The names of all kernels that have a pod."""
        return list(self._of)

    def _seen(self, name: str, before: Pod | None, after: Pod | None) -> None:
        if before is not None and (pods := self._of.get(before.kernel)) is not None:
            pods.pop(name, None)
            if not pods:
                del self._of[before.kernel]
        if after is not None:
            self._of.setdefault(after.kernel, {})[name] = after

    async def create(self, kernel: Kernel, incarnation: int, spec: KernelSpec, size: Size | None, home: Home) -> None:
        """Make the Secret, then the pod; raises RefusedError if it may not be made now."""
        secret = connection_secret(kernel, incarnation, self._namespace, new_connection_info())
        pod = kernel_pod(kernel, incarnation, self._namespace, spec, size, home)
        with contextlib.suppress(AlreadyExistsError):  # an earlier try got this far
            await self._client.create(SECRETS, self._namespace, secret)
        try:
            self.informer.learn(await self._client.create(PODS, self._namespace, pod))
        except AlreadyExistsError:  # the answer to an earlier try was lost
            await self.look_for(kernel, incarnation)
        except ForbiddenError as error:
            quota = "exceeded quota" in error.message or "failed quota" in error.message
            raise RefusedError(Reason.QUOTA_EXCEEDED if quota else Reason.ADMISSION_REFUSED, error.message) from error
        except InvalidError as error:
            raise RefusedError(Reason.ADMISSION_REFUSED, error.message) from error
        else:
            log.info("Kernel %s of %s: pod %s asked for", kernel.name, kernel.owner.user, pod["metadata"]["name"])

    async def look_for(self, kernel: Kernel, incarnation: int) -> bool:
        """Ask the API server itself for a pod; True if it stands, False only if the server said that it does not."""
        name = pod_name(kernel.owner.user, kernel.name, incarnation)
        try:
            self.informer.learn(await self._client.get(PODS, self._namespace, name))
        except NotFoundError:
            await self.forget_key(kernel.name, incarnation)
            return False
        return True

    async def remove(self, kernel: str, pod: str, uid: str, incarnation: int) -> None:
        """Delete a pod and its Secret."""
        await self._client.delete(PODS, self._namespace, pod, uid=uid, grace=GRACE)
        await self.forget_key(kernel, incarnation)

    async def forget_key(self, kernel: str, incarnation: int) -> None:
        """Delete the Secret of an incarnation."""
        await self._client.delete(SECRETS, self._namespace, secret_name(kernel, incarnation))
