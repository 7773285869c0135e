"""Which directory of this machine stands in for which container image. Pure, but for reading the map's file.

An image is a root filesystem, a default command and a user. Here a Python environment (or any directory with a
``bin``) is put first on PATH of a root made of the machine's own ``/usr``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from local_cluster.errors import LocalClusterError

DEFAULT_COMMANDS: Mapping[str, tuple[str, ...]] = {"*user-server*": ("jupyterhub-singleuser",)}
"""What an image runs if its pod names no command, by pattern of the image's name."""


@dataclass(frozen=True, slots=True)
class Image:
    """What stands in for an image."""

    prefix: Path
    command: tuple[str, ...] = ()
    uid: int = 1000
    gid: int = 100
    user: str = "jovyan"
    home: str = "/home/jovyan"
    cwd: str = "/home/jovyan"
    env: Mapping[str, str] = field(default_factory=dict)


class ImageMap:
    """Image name patterns (as of `fnmatch`) to images; the first pattern that fits wins."""

    def __init__(self, images: Mapping[str, Any]) -> None:
        self._images = {pattern: parse_image(pattern, value) for pattern, value in images.items()}

    def find(self, name: str) -> Image | None:
        """The image of this name, with or without a tag, or None: that pull fails."""
        plain = name.removeprefix("docker.io/").removeprefix("library/")
        for pattern, image in self._images.items():
            if fnmatchcase(name, pattern) or fnmatchcase(plain, pattern) or fnmatchcase(_untagged(plain), pattern):
                return image
        return None


def parse_image(pattern: str, value: Any) -> Image:
    """An entry of the map: a path, or a mapping with `prefix` and any other field of `Image`."""
    fields: dict[str, Any] = {"prefix": value} if isinstance(value, str | Path) else dict(value)
    unknown = set(fields) - set(Image.__dataclass_fields__)
    if unknown or "prefix" not in fields:
        raise LocalClusterError(
            f"The entry {pattern!r} of the image map needs `prefix` and knows {sorted(Image.__dataclass_fields__)}, "
            f"not {sorted(unknown)}."
        )
    if "command" not in fields:
        for name, command in DEFAULT_COMMANDS.items():
            if fnmatchcase(pattern, name):
                fields["command"] = command
    fields["prefix"] = Path(fields["prefix"]).absolute()
    fields["command"] = tuple(fields.get("command", ()))
    return Image(**fields)


def read_images(path: Path) -> dict[str, Any]:
    """The map in a file. YAML needs PyYAML; JSON needs nothing."""
    try:
        text = path.read_text()
    except OSError as error:
        raise LocalClusterError(f"The image map {path} cannot be read: {error.strerror}.") from error
    try:
        content = json.loads(text)
    except ValueError:
        import yaml

        content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise LocalClusterError(f"The image map {path} must map image name patterns to directories.")
    return content


def _untagged(name: str) -> str:
    head, _, last = name.rpartition("/")
    last = last.split("@")[0].split(":")[0]
    return f"{head}/{last}" if head else last
