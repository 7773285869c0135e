"""One container's process: started in its sandbox, watched to its end, ended in time; commands run beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from local_cluster.node.sandbox import Sandbox, command_line, process_environment

ENTER = Path(__file__).with_name("enter.py")
LONGEST_OUTPUT = 4096
"""Bytes kept of what a command inside says."""
INNER_LIMIT = 2.0
"""Seconds for bubblewrap to name the process inside."""


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ContainerProcess:
    """A sandboxed process. Signals go to the process itself; it dies with this one's process."""

    def __init__(self, box: Sandbox, pod_ip: str, log: Path) -> None:
        self._box = box
        self._pod_ip = pod_ip
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._status: int = -1
        self._said = b""
        self._inner: int | None = None
        self.started = ""

    async def start(self) -> None:
        """Start it."""
        read, write = os.pipe()
        os.set_inheritable(write, True)
        box = replace(self._box, status_descriptor=write)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command_line(box),
                    env=process_environment(box, self._pod_ip),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write,),
                )
        finally:
            os.close(write)
        self._status = read
        self.started = now()

    async def wait(self) -> int:
        """Its exit code, as a shell would tell it."""
        assert self._process is not None
        code = await self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._status)
        self._status = -1
        return 128 - code if code < 0 else code

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def ended(self, limit: float) -> bool:
        """Wait for its end at most so many seconds; whether it came."""
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await self._process.wait()
        return not self.running

    def _inner_pid(self) -> int | None:
        """The process inside, which bubblewrap names as its first words."""
        if self._inner is None and self._status >= 0:
            os.set_blocking(self._status, False)
            with contextlib.suppress(BlockingIOError, OSError):
                while chunk := os.read(self._status, 4096):
                    self._said += chunk
            for line in self._said.splitlines():
                with contextlib.suppress(ValueError):
                    if "child-pid" in (told := json.loads(line)):
                        self._inner = int(told["child-pid"])
        return self._inner

    async def run(self, command: Sequence[str], limit: float) -> tuple[int, str]:
        """Run a command inside, at most so many seconds: exit code and the end of what it said."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(limit, INNER_LIMIT)):
                while self._inner_pid() is None:
                    await asyncio.sleep(0.02)
        if self._inner is None or not self.running:
            return 126, "the container does not run"
        argv = [sys.executable, "-I", "-S", str(ENTER), str(self._inner), self._box.working_dir, *command]
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=process_environment(self._box, self._pod_ip),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert child.stdout is not None
        said = b""
        try:
            async with asyncio.timeout(limit):
                while chunk := await child.stdout.read(LONGEST_OUTPUT):
                    said = (said + chunk)[-LONGEST_OUTPUT:]
                return await child.wait(), said.decode(errors="replace").strip()
        except TimeoutError:
            return 124, f"command {' '.join(command)!r} timed out after {limit:g} s"
        finally:
            # Its children inside are of its group; those that left it are the container's own affair.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()

    async def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after ``grace`` seconds; a process that is PID 1 may well ignore the first."""
        if self._process is None or not self.running:
            return
        inner = self._inner_pid()
        if inner is not None and grace > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(inner, signal.SIGTERM)
            await self.ended(grace)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
