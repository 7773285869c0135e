"""A process of the cluster that writes to its own log and cannot outlive the one who started it.

``setpriv --pdeathsig`` is a plain exec, so no Python runs between fork and exec. The kernel sends the death
signal when the *thread* that started the process ends: start components from a thread that lives as long as the
cluster, in practice the main one. Nothing here belongs to an event loop: a fixture may start a cluster in one loop
and stop it in another.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from local_cluster.errors import ComponentError

TAIL_BYTES = 3000
"""How much of a log an error shows."""


class Component:
    """One process: start, look, stop."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._argv = list(argv)
        self._env = dict(env)
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it in a session of its own, so that a Ctrl-C in the terminal does not reach it."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ComponentError("setpriv was not found. Install it as root: apt-get install util-linux")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", "--", *self._argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ComponentError, with the end of the log, if it has ended."""
        if self._process is None or self._process.poll() is None:
            return
        raise ComponentError(f"{self.name} ended with {ended_as(self._process.returncode)}.\n{self.tail()}")

    def tail(self) -> str:
        """The name and the last lines of its log."""
        try:
            text = self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        except FileNotFoundError:
            text = ""
        return f"Its log, {self.log}, ends:\n{text}"

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it now, with every process of its group."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self, limit: timedelta) -> bool:
        """Whether it has ended within the limit; call it from a thread."""
        if self._process is None:
            return True
        try:
            self._process.wait(limit.total_seconds())
        except subprocess.TimeoutExpired:
            return False
        return True


def ended_as(returncode: int) -> str:
    """An exit status in words."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"
