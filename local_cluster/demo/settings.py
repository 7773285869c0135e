"""What the demo is asked for: read once from the environment, checked, then passed down.

Knows names, units and limits; starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

NAMESPACE = "elastic"
"""Where the demo's objects and pods live."""

USER_NAMES = ("ada", "grace", "edsger", "barbara", "donald", "frances", "alan", "radia")
"""The first names given to users; further ones are numbered."""


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what would do."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Everything that a person may choose about a demo."""

    state_dir: Path
    idle_timeout: timedelta = timedelta(seconds=20)
    gpus: int = 4
    users: int = 2
    port: int = 0
    """Port of the Hub's public URL; 0 takes a free one."""
    cull_timeout: timedelta = timedelta(hours=1)
    """Time without activity after which the Hub's idle culler stops a user server."""

    @property
    def user_names(self) -> list[str]:
        """The names of the demo's users, always the same for the same number."""
        extra = [f"user{number}" for number in range(len(USER_NAMES) + 1, self.users + 1)]
        return [*USER_NAMES[: self.users], *extra]


def _number(environ: Mapping[str, str], name: str, default: str, *, low: int, high: int, unit: str) -> int:
    text = environ.get(name) or default
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a whole number; give {unit}, {low} to {high}.") from None
    if not low <= value <= high:
        raise SettingsError(f"{name}={value} is out of range; give {unit}, {low} to {high}.")
    return value


def read_settings(environ: Mapping[str, str], checkout: Path) -> DemoSettings:
    """The demo's settings from ``STATE_DIR``, ``IDLE_TIMEOUT``, ``GPUS``, ``USERS``, ``PORT`` and ``CULL_TIMEOUT``.

    Raises SettingsError for a value that is no number or out of range.
    """
    state_dir = Path(environ.get("STATE_DIR") or checkout / ".build" / "demo").expanduser().absolute()
    idle = _number(environ, "IDLE_TIMEOUT", "20", low=1, high=86400, unit="seconds")
    cull = _number(environ, "CULL_TIMEOUT", "3600", low=5, high=604800, unit="seconds")
    return DemoSettings(
        state_dir=state_dir,
        idle_timeout=timedelta(seconds=idle),
        gpus=_number(environ, "GPUS", "4", low=0, high=128, unit="a number of GPUs"),
        users=_number(environ, "USERS", "2", low=1, high=64, unit="a number of users"),
        port=_number(environ, "PORT", "0", low=0, high=65535, unit="a port (0: any free one)"),
        cull_timeout=timedelta(seconds=cull),
    )
