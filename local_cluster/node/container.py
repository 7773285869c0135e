"""One container's process: started in its sandbox, watched to its end, ended in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from local_cluster.node.sandbox import Sandbox, command_line, process_environment


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

    def _inner_pid(self) -> int | None:
        """The process inside, which bubblewrap names as its first words."""
        os.set_blocking(self._status, False)
        text = b""
        with contextlib.suppress(BlockingIOError, OSError):
            while chunk := os.read(self._status, 4096):
                text += chunk
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                if "child-pid" in (told := json.loads(line)):
                    return int(told["child-pid"])
        return None

    async def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after ``grace`` seconds; a process that is PID 1 may well ignore the first."""
        if self._process is None or self._process.returncode is not None:
            return
        inner = self._inner_pid()
        if inner is not None and grace > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(inner, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
