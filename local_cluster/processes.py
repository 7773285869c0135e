"""A child process that cannot outlive us, with a log and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_LIMIT = 15.0
"""Seconds from SIGTERM to SIGKILL."""


class ProcessError(RuntimeError):
    """A process that did not do what it was started for; the message names it and its log."""


class Process:
    """One child. ``start`` starts it, ``stop`` ends it and whatever it started in its session."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        # Killed with us even when we are killed: no cleanup of ours would run then.
        self._argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        if self._process is None:
            raise ProcessError(f"{self.name} was never started.")
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to its whole session when that did not end it."""
        if self._process is None:
            return
        pid = self._process.pid
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_LIMIT):
                    await self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        await self._process.wait()

    def check(self) -> None:
        """Raise ProcessError if it has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise ProcessError(f"{self.name} ended with {self._process.returncode}. {self.last_words()}")

    def last_words(self) -> str:
        """Where its log is, and how it ends."""
        tail = self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""
        return f"Its log, {self.log}, ends:\n{tail}"
