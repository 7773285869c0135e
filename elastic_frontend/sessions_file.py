"""Where it is written which notebook has which kernel, so that a new server finds it.

A file in the home can be broken, locked, or on a disk that is full. None of that may keep the server from starting:
then sessions are kept in memory, as jupyter_server does by itself.
"""

from __future__ import annotations

import os
import sqlite3
from logging import Logger
from pathlib import Path
from urllib.parse import quote

from jupyter_core.paths import jupyter_data_dir

LOCK_LIMIT = 2.0
"""Seconds for which another server of the same name may hold the file."""


def sessions_file() -> Path:
    """One file for each named server: they share the home and not their kernels."""
    server = os.environ.get("JUPYTERHUB_SERVER_NAME")
    name = f"sessions-{quote(server, safe='')}.db" if server else "sessions.db"
    return Path(jupyter_data_dir()) / "elastic-jupyter" / name


def usable_sessions_file(log: Logger) -> Path | None:
    """The file, or None if nothing can be written there. A broken one is put aside."""
    path = sessions_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _try_to_write(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            path.replace(path.with_suffix(".broken"))
            log.warning("%s was no database (%s); it is put aside. Notebooks start with new kernels", path, error)
            _try_to_write(path)
    except (OSError, sqlite3.Error) as error:
        log.warning("Sessions are kept in memory, and lost with this server: %s: %s", path, error)
        return None
    return path


def _try_to_write(path: Path) -> None:
    database = sqlite3.connect(path, timeout=LOCK_LIMIT, isolation_level=None)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute("PRAGMA quick_check(1)").fetchone()
        database.execute(f"PRAGMA user_version = {int(version) + 1}")
    finally:
        database.close()
