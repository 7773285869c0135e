"""What stands in for container images: Python environments on this machine."""

from __future__ import annotations

import fnmatch
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Image:
    """An environment that a pod sees instead of an image's file system."""

    prefix: Path
    binds: tuple[Path, ...]
    """Directories that must be readable inside: the environment, its base interpreter, sources."""
    command: tuple[str, ...] = ()
    """What runs when a pod names no command."""
    home: str = "/home/jovyan"
    uid: int = 1000
    gid: int = 100


class Images:
    """Image names, by glob, and what they mean."""

    def __init__(self, environments: Mapping[str, str], sources: Path, commands: Mapping[str, tuple[str, ...]]) -> None:
        self._environments = dict(environments)
        self._sources = sources
        self._commands = dict(commands)
        self._known: dict[str, Image] = {}

    def find(self, name: str) -> Image | None:
        """The image of this name, or None: there is nothing to pull from."""
        for glob, prefix in self._environments.items():
            if fnmatch.fnmatch(name, glob):
                if glob not in self._known:
                    self._known[glob] = self._make(glob, Path(prefix))
                return self._known[glob]
        return None

    def _make(self, glob: str, prefix: Path) -> Image:
        python = prefix / "bin" / "python"
        question = [str(python), "-c", "import sys; print(sys.base_prefix)"]
        base = Path(subprocess.run(question, capture_output=True, text=True, check=True, timeout=20).stdout.strip())
        return Image(prefix, (prefix, base, self._sources), self._commands.get(glob, ()))
