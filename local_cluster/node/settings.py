"""What a node process is told by its cluster, as one JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The node's name, places, addresses and promises."""

    name: str
    directory: Path
    slice: int
    api_port: int
    promises: Mapping[str, str]
    labels: Mapping[str, str]
    images: Mapping[str, Any]
    addresses: Sequence[str]

    @property
    def kubeconfig(self) -> Path:
        """The node's own identity."""
        return self.directory / "node.kubeconfig"

    @property
    def admin_kubeconfig(self) -> Path:
        """For what a node may not do and other parts of a cluster would: making volumes, above all."""
        return self.directory / "admin.kubeconfig"

    @property
    def pki(self) -> Path:
        """The cluster's keys and certificates."""
        return self.directory.parent / "pki"

    def as_json(self) -> dict[str, Any]:
        """The file's content."""
        return {**asdict(self), "directory": str(self.directory)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> NodeSettings:
        """The other way round."""
        return cls(**{**content, "directory": Path(content["directory"])})
