"""What a hub of this example is asked for: one JSON file, read once, checked, then passed down.

Knows names, units and limits, and nothing about JupyterHub; ``jupyterhub_config.py`` only assigns what it finds
here. The file holds passwords and tokens and belongs to the hub's user alone (mode 0600).

The hub's credentials for Kubernetes are no setting: they are its pod's service account, or the file that
``KUBECONFIG`` names, which is read before any configuration is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

ENVIRONMENT = "ELASTIC_HUB_SETTINGS"
"""The variable that names the settings file."""

IMAGE = "elastic-jupyter/user-server:latest"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
SHORTEST_TOKEN, LONGEST_TOKEN = 16, 64
"""A Hub of version 6.1 refuses longer tokens."""


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what would do."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Everything that may be chosen about the hub. Fields without a default must be given."""

    state_dir: Path
    """Directory for database, cookie secret and proxy token; made if missing."""
    namespace: str
    """Namespace of user servers, their homes and their JupyterNotebooks."""
    port: int
    """Port of the public URL."""
    hub_port: int
    """Port of the Hub's own API, for proxy, user servers and gateway."""
    proxy_api_port: int
    """Port of the proxy's API."""
    proxy_command: str
    """The configurable-http-proxy program."""
    users: dict[str, str] = field(default_factory=dict)
    """Name to password."""
    gateway_url: str = ""
    """URL of the gateway as user servers reach it; empty: they run kernels themselves."""
    host: str = "127.0.0.1"
    """Address on which proxy and Hub listen, and at which user servers find the Hub."""
    admin_token: str = ""
    """API token of a service that may manage users and servers; empty: there is none."""
    cull_timeout: int = 3600
    """Seconds without activity after which a user server is stopped; 0: never."""
    image: str = IMAGE
    """Image of user servers."""
    home_size: str = "1Gi"
    """Size of a home."""
    storage_class: str = ""
    """Storage class of homes, which must offer ReadWriteMany; empty: the cluster's default."""
    start_timeout: int = 120
    """Seconds within which a user server must start."""
    log_level: str = "INFO"

    @property
    def cull_every(self) -> int:
        """Seconds between two looks of the idle culler."""
        return max(1, min(600, self.cull_timeout // 4))

    @property
    def activity_interval(self) -> int:
        """Seconds between two reports of a user server's activity: well within the cull timeout, else servers in
        use would be stopped; the usual five minutes where the timeout is long.
        """
        return max(1, min(300, self.cull_timeout // 4)) if self.cull_timeout else 300


def load_settings(environ: Mapping[str, str]) -> HubSettings:
    """The settings from the file that ``ELASTIC_HUB_SETTINGS`` names. Raises SettingsError."""
    name = environ.get(ENVIRONMENT, "")
    if not name:
        raise SettingsError(f"{ENVIRONMENT} is not set; give it the path of the hub's settings file (JSON).")
    path = Path(name)
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"The settings file {path} of {ENVIRONMENT} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise SettingsError(f"The settings file {path} is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise SettingsError(f"The settings file {path} must hold one JSON object, not {type(content).__name__}.")
    try:
        return parse_settings(content)
    except SettingsError as error:
        raise SettingsError(f"Settings file {path}: {error}") from None


def settings_or_exit(environ: Mapping[str, str]) -> HubSettings:
    """``load_settings`` for the configuration file: one line for a person instead of a traceback."""
    try:
        return load_settings(environ)
    except SettingsError as error:
        _exit(str(error))


def parse_settings(content: Mapping[str, Any]) -> HubSettings:
    """The settings in a parsed file. Raises SettingsError for what is missing, unknown or out of range."""
    known = {one.name: one for one in fields(HubSettings)}
    if unknown := sorted(content.keys() - known.keys()):
        raise SettingsError(f"{', '.join(unknown)}: no such setting; there are {', '.join(sorted(known))}.")
    needed = [n for n, one in known.items() if one.default is MISSING and one.default_factory is MISSING]
    if missing := [name for name in needed if name not in content]:
        raise SettingsError(f"{', '.join(missing)}: not given.")
    values = {name: _typed(name, str(known[name].type), value) for name, value in content.items()}
    settings = HubSettings(**values)
    _check(settings)
    return settings


def _typed(name: str, kind: str, value: Any) -> Any:
    if kind == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise SettingsError(f"{name}: {value!r} is not a whole number.")
        return value
    if kind == "dict[str, str]":
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise SettingsError(f"{name}: must be an object of names and passwords.")
        return value
    if not isinstance(value, str):
        raise SettingsError(f"{name}: {value!r} is not a text.")
    return Path(value) if kind == "Path" else value


def _check(settings: HubSettings) -> None:
    ports = {name: getattr(settings, name) for name in ("port", "hub_port", "proxy_api_port")}
    for name, port in ports.items():
        if not 1 <= port <= 65535:
            raise SettingsError(f"{name}: {port} is not a port; give a number from 1 to 65535.")
    if len(set(ports.values())) < len(ports):
        pairs = ", ".join(f"{name} {port}" for name, port in ports.items())
        raise SettingsError(f"{pairs}: each needs a port of its own.")
    if not settings.state_dir.is_absolute():
        raise SettingsError(f"state_dir: {settings.state_dir} must be an absolute path.")
    if not settings.namespace:
        raise SettingsError("namespace: must not be empty.")
    if settings.gateway_url and not settings.gateway_url.startswith(("http://", "https://")):
        raise SettingsError(f"gateway_url: {settings.gateway_url!r} must start with http:// or https://.")
    if settings.cull_timeout < 0:
        raise SettingsError(f"cull_timeout: {settings.cull_timeout} must be a number of seconds; 0 is never.")
    if settings.start_timeout < 1:
        raise SettingsError(f"start_timeout: {settings.start_timeout} must be at least 1 second.")
    if settings.log_level not in LOG_LEVELS:
        raise SettingsError(f"log_level: {settings.log_level!r} is none of {', '.join(LOG_LEVELS)}.")
    if settings.admin_token and not SHORTEST_TOKEN <= len(settings.admin_token) <= LONGEST_TOKEN:
        raise SettingsError(f"admin_token: must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters.")
    if empty := [name for name, password in settings.users.items() if not name or not password]:
        raise SettingsError(f"users: {', '.join(map(repr, empty))} without a name or a password.")
    if mixed := [name for name in settings.users if name != name.lower()]:
        raise SettingsError(f"users: {', '.join(mixed)}: the Hub knows names in lower case only.")
    if not Path(settings.proxy_command).is_file():
        raise SettingsError(
            f"proxy_command: {settings.proxy_command} does not exist. Install configurable-http-proxy with npm."
        )


def _exit(message: str) -> NoReturn:
    sys.exit(f"jupyterhub: {message}")
