"""The demo's files: its state directory cleared, secrets written for their owner only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def clear(state_dir: Path) -> None:
    """Remove what an earlier demo left in its directory; a demo always starts afresh."""
    for entry in state_dir.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, at once or not at all."""
    draft = path.with_suffix(".tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.rename(path)
