"""Which loopback addresses a cluster may give to its pods and Services.

Pods of every cluster on this machine share one network, so two clusters side by side need addresses that do not
collide. 127.22.0.0/16 and 127.96.0.0/16 are cut into sixteen slices of 4,094 addresses; a cluster holds slice *n*
by a socket bound to its first address, which the kernel releases however the cluster ends. No lock file can
go stale, and clusters of different users see each other's.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType
from typing import Self

from local_cluster.errors import LocalClusterError

POD_NETWORK = IPv4Network("127.22.0.0/16")
SERVICE_NETWORK = IPv4Network("127.96.0.0/16")
SLICE_PREFIX = 20
LOCK_PORT = 10256
"""Bound, never listened on. The kube-proxy's health port: no pod needs it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The addresses of one cluster."""

    number: int

    @property
    def pods(self) -> IPv4Network:
        """Where pods live; the first address is the node's own."""
        return list(POD_NETWORK.subnets(new_prefix=SLICE_PREFIX))[self.number]

    @property
    def services(self) -> IPv4Network:
        """Where Services live."""
        return list(SERVICE_NETWORK.subnets(new_prefix=SLICE_PREFIX))[self.number]

    @property
    def node(self) -> IPv4Address:
        """The node's own address."""
        return self.pods.network_address + 1


class SliceLock:
    """Holds the first free slice for as long as this process lives, or until it is closed."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def take(self) -> Slice:
        """The first slice that nobody holds."""
        for number in range(1 << (SLICE_PREFIX - POD_NETWORK.prefixlen)):
            candidate = Slice(number)
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                holder.bind((str(candidate.node), LOCK_PORT))
            except OSError:
                holder.close()
                continue
            self._socket = holder
            return candidate
        raise LocalClusterError(
            "All sixteen address slices are held by other local clusters on this machine "
            f"(or something listens on 0.0.0.0:{LOCK_PORT}). Stop one of them."
        )

    def close(self) -> None:
        """Give the slice back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
