"""Files that change all at once, in the kubelet's way: ``name -> ..data/name``, ``..data -> ..2026_…``.

A program that reads a certificate and its key sees both of one version, and one that watches ``..data`` sees one
change. Only the link moves, so what is bind-mounted into a sandbox changes there too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

DATA = "..data"
DRAFT = "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """What one file holds and who may read it."""

    content: bytes
    mode: int = 0o644


Payload = Mapping[str, File]
"""Relative path to file."""


def is_current(directory: Path, payload: Payload) -> bool:
    """Whether a directory shows exactly these files."""
    data = directory / DATA
    if not data.exists():
        return False
    there = {str(path.relative_to(data)) for path in data.rglob("*") if not path.is_dir()}
    return there == set(payload) and all((data / name).read_bytes() == file.content for name, file in payload.items())


def write(directory: Path, payload: Payload) -> None:
    """Make a directory show these files; nothing is touched if it does already."""
    if is_current(directory, payload):
        return
    directory.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    made = Path(tempfile.mkdtemp(prefix=stamp, dir=directory))
    made.chmod(0o755)
    for name, file in payload.items():
        path = made / name
        if not path.resolve().is_relative_to(made.resolve()):
            raise ValueError(f"A volume's file {name!r} would lie outside of its volume.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode | 0o400)
    old = (directory / DATA).readlink() if (directory / DATA).is_symlink() else None
    draft = directory / DRAFT
    draft.unlink(missing_ok=True)
    draft.symlink_to(made.name)
    draft.rename(directory / DATA)
    _link(directory, {name.split("/", 1)[0] for name in payload})
    if old is not None:
        shutil.rmtree(directory / old, ignore_errors=True)


def _link(directory: Path, names: set[str]) -> None:
    """One link for each name at the top, and none for a name that is gone."""
    for path in directory.iterdir():
        if path.is_symlink() and path.name not in names and not path.name.startswith(".."):
            path.unlink()
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path(DATA) / name)
