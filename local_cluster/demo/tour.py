"""The main job as a tour: each step does what a person would, shows its evidence, and must hold.

``make demo ONCE=1`` runs it against the demo it just started. A step that does not hold raises
TourError; nothing is retried and nothing is assumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from local_cluster.demo.client import Person
from local_cluster.demo.objects import Objects, gpus
from local_cluster.demo.stack import Demo

POD_GONE_LIMIT = 8.0
"""Seconds after the idle time within which the pod must be gone."""

SIZE = "python3-1-gpu"


class TourError(AssertionError):
    """A step of the tour that was not as promised."""


@dataclass(slots=True)
class Tour:
    """One tour, step by step, on a running demo."""

    demo: Demo
    objects: Objects
    say: Callable[[str], None]
    _step: int = 0

    def _title(self, text: str) -> None:
        self._step += 1
        self.say(f"\n{self._step}. {text}")

    def _check(self, holds: object, evidence: str) -> None:
        if not holds:
            raise TourError(f"step {self._step}: {evidence}")
        self.say(f"   ok: {evidence}")

    async def walk(self) -> None:
        """All steps in order."""
        user = self.demo.users[0]
        async with Person(self.demo.hub_url, user["name"], user["password"]) as person:
            await self._log_in(person)
            await self._look_at_launcher(person)
            notebook = await self._open(person)
            await self._first_run(notebook)
            await self._idle(notebook)
            await self._run_again(notebook)
            await self._shut_down(person, notebook)

    async def _log_in(self, person: Person) -> None:
        self._title(f"{person.name} logs in through JupyterHub and gets JupyterLab")
        await person.login()
        seconds = await person.start_server()
        self._check(seconds < 30, f"JupyterLab answered {seconds:.1f} s after the login")

    async def _look_at_launcher(self, person: Person) -> None:
        self._title("The launcher offers kernels by size")
        specs = await person.kernelspecs()
        self._check(SIZE in specs, ", ".join(f"{name} = {title}" for name, title in sorted(specs.items())))

    async def _open(self, person: Person) -> Any:
        self._title("Opening a notebook takes no pod")
        started = monotonic()
        notebook = await person.open_notebook("tour.ipynb", SIZE)
        info = await notebook.ask("kernel_info_request", {})
        seconds = monotonic() - started
        self._check(info["language_info"]["name"] == "python", f"the notebook knows its language after {seconds:.2f} s")
        pods = await self.objects.kernel_pods()
        self._check(not pods, f"pods of kernels: {len(pods)}")
        status = (await self.objects.kernel(notebook.kernel_id)).get("status", {})
        self._check(
            status.get("phase", "Suspended") == "Suspended",
            f"JupyterKernel {notebook.kernel_id}: {status.get('phase')} ({status.get('reason')})",
        )
        return notebook

    async def _first_run(self, notebook: Any) -> None:
        self._title("The first Run asks for exactly the chosen size")
        run = await notebook.run("x = 41\nprint('hello from', __import__('os').environ['NVIDIA_VISIBLE_DEVICES'])")
        self._check(run.status == "ok", f"the cell ended {run.status} after {run.seconds:.2f} s: {run.text.strip()}")
        for at, line in run.waiting:
            self.say(f"   waited: {at:5.2f} s  {line}")
        left = [output for output in run.outputs if output["output_type"] == "display_data"]
        self._check(not left, "nothing of the waiting is left under the cell")
        pods = await self.objects.kernel_pods(notebook.kernel_id)
        self._check(len(pods) == 1 and gpus(pods[0]) == 1, f"pods: {[p['metadata']['name'] for p in pods]}, one GPU")
        status = (await self.objects.kernel(notebook.kernel_id))["status"]
        self._check(
            status["phase"] == "Running" and status["incarnation"] == 1,
            f"JupyterKernel: {status['phase']}, incarnation {status['incarnation']}, on {status.get('nodeName')}",
        )

    async def _idle(self, notebook: Any) -> None:
        idle = self.demo.settings.idle_timeout.total_seconds()
        self._title(f"Idle for {idle:.0f} s with the notebook open: the pod goes, the notebook stays")
        started = monotonic()
        try:
            async with asyncio.timeout(idle + POD_GONE_LIMIT):
                while await self.objects.kernel_pods(notebook.kernel_id):
                    await asyncio.sleep(0.25)
        except TimeoutError:
            raise TourError(f"the pod still stood {idle + POD_GONE_LIMIT:.0f} s after the last cell") from None
        self._check(True, f"pod gone {monotonic() - started:.1f} s after the last cell")
        async with asyncio.timeout(5):
            while (await self.objects.kernel(notebook.kernel_id))["status"]["phase"] != "Suspended":
                await asyncio.sleep(0.1)
        status = (await self.objects.kernel(notebook.kernel_id))["status"]
        self._check(status["reason"] == "Idle", f"JupyterKernel: {status['phase']} ({status['reason']})")
        self._check(notebook.connected, "the WebSocket is still open")

    async def _run_again(self, notebook: Any) -> None:
        self._title("Run: it is back, under the same kernel id")
        run = await notebook.run("print(6 * 7)")
        self._check(run.status == "ok" and run.text == "42\n", f"the cell printed 42 after {run.seconds:.2f} s")
        status = (await self.objects.kernel(notebook.kernel_id))["status"]
        self._check(status["incarnation"] == 2, f"incarnation {status['incarnation']}, pod {status.get('podName')}")
        run = await notebook.run("x")
        said = " ".join(c["text"] for c in run.of_type("stream")) + str(run.outputs)
        self._check(
            run.status == "error" and "suspended" in said.lower(),
            "a cell that misses its variable is told that the kernel was suspended",
        )

    async def _shut_down(self, person: Person, notebook: Any) -> None:
        self._title("Shut down: nothing is left")
        await person.call("DELETE", f"api/sessions/{notebook.session['id']}")
        async with asyncio.timeout(15):
            while await self.objects.kernel_pods(notebook.kernel_id):
                await asyncio.sleep(0.25)
        names = [item["metadata"]["name"] for item in await self.objects.kernels()]
        self._check(notebook.kernel_id not in names, "JupyterKernel and pod are gone")
