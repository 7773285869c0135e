"""Which loopback addresses a cluster gives to its pods and Services.

Each cluster on a machine takes a slice of 127.0.0.0/8 of its own. A slice is claimed by a socket bound inside
it, so a claim ends with its process, however that ends.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass, field

FIRST, LAST = 64, 126
CLAIM_PORT = 47100


class NoSliceError(RuntimeError):
    """Every slice is taken: too many clusters run."""


@dataclass(slots=True)
class Slice:
    """A claimed slice: one /16 for pods, one for Services."""

    number: int
    claim: socket.socket
    _next: int = 0
    reuse: list[str] = field(default_factory=list)
    """Addresses to give next, for tests that hand a dead pod's address on."""

    @property
    def services(self) -> str:
        """The Services' range."""
        return f"127.{self.number + 1}.0.0/16"

    def take(self, used: Collection[str]) -> str:
        """An address that no pod uses; one that was used before comes again as late as possible."""
        while self.reuse:
            if (address := self.reuse.pop(0)) not in used:
                return address
        for _ in range(250 * 250):
            high, low = divmod(self._next, 250)
            self._next = (self._next + 1) % (250 * 250)
            address = f"127.{self.number}.{1 + high}.{2 + low}"
            if address not in used:
                return address
        raise NoSliceError(f"All addresses of 127.{self.number}.0.0/16 are in use.")

    def release(self) -> None:
        """Give the slice back."""
        self.claim.close()


def claim_slice() -> Slice:
    """Claim the first free slice. Raises NoSliceError if there is none."""
    for number in range(FIRST, LAST, 2):
        claim = socket.socket()
        try:
            claim.bind((f"127.{number}.0.1", CLAIM_PORT))
            claim.listen(1)
        except OSError:
            claim.close()
            continue
        return Slice(number, claim)
    raise NoSliceError("Every range of loopback addresses is taken by another local cluster; stop one of them.")
