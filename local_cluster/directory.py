"""A cluster's directory: one owner at a time, and empty at each start.

State is never carried over: pods of an earlier life are gone, and an object that says otherwise is worse than none.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO

from local_cluster.errors import DirectoryError

MARK = ".local-cluster"
"""Says that everything in a directory was written by a cluster and may be removed by the next."""


class Directory:
    """Exclusive use of a directory until it is closed, or its holder ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Take the directory and empty it. Raises DirectoryError if it is used, or holds foreign files."""
        self.path.mkdir(parents=True, exist_ok=True)
        mark = self.path / MARK
        if not mark.exists() and any(self.path.iterdir()):
            raise DirectoryError(
                f"{self.path} is not empty and was not made by a local cluster. Name another directory."
            )
        lock = mark.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DirectoryError(
                f"Another local cluster runs in {self.path}. Stop it, or name another directory."
            ) from None
        self._lock = lock
        for entry in self.path.iterdir():
            if entry == mark:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        for name in ("logs", "pki", "node"):
            (self.path / name).mkdir(mode=0o700)

    def close(self) -> None:
        """Let others have it; logs and state stay for a look."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
