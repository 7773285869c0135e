"""A pod's /etc/hosts: the machine's localhost, the pod itself, and every Service."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MACHINE = Path("/etc/hosts")


def localhost_lines(text: str) -> list[str]:
    """The lines of a machine's hosts file that name localhost, or the usual one if there is none."""
    lines = [line.strip() for line in text.splitlines() if "localhost" in line.split("#")[0]]
    return lines or ["127.0.0.1 localhost"]


@dataclass(frozen=True, slots=True)
class HostsFile:
    """One pod's file."""

    path: Path
    namespace: str
    ip: str
    hostname: str
    aliases: tuple[str, ...] = ()
    """The lines that its pod asks for."""

    def text(self, services: Iterable[str], machine: str) -> str:
        """What it says."""
        return "\n".join([*localhost_lines(machine), f"{self.ip} {self.hostname}", *self.aliases, *services]) + "\n"


def write_in_place(path: Path, text: str) -> bool:
    """Replace what a file says, not the file: a sandbox holds on to the file. Whether anything changed.

    The rest of a longer text is first made empty lines, so that nobody reads half a line of it.
    """
    wanted = text.encode()
    old = path.read_bytes() if path.exists() else b""
    if old == wanted:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, wanted + b"\n" * (len(old) - len(wanted)), 0)
        os.ftruncate(descriptor, len(wanted))
    finally:
        os.close(descriptor)
    return True
