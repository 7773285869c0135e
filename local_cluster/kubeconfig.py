"""Kubeconfigs, written as JSON (which is YAML) so that reading one needs no YAML library."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any


def kubeconfig(server: str, ca: str, token: str, user: str, namespace: str = "default") -> dict[str, Any]:
    """The content of a kubeconfig with one cluster, one user and one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "local",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
                },
            }
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user, "namespace": namespace}}],
        "current-context": "local",
    }


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read, at once or not at all."""
    draft = path.with_name(path.name + ".tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    draft.rename(path)


def write_kubeconfig(path: Path, config: dict[str, Any]) -> Path:
    """Write a kubeconfig for its owner's eyes only."""
    write_private(path, json.dumps(config, indent=1) + "\n")
    return path
