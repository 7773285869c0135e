"""What kubectl tells, and which edges a watch sees."""

from __future__ import annotations

import asyncio
import subprocess

from tests.support.waiting import eventually

EDGES = {
    "": {"Suspended"},
    "Suspended": {"Pending", "Terminating"},
    "Pending": {"Starting", "Suspending", "Failed", "Terminating"},
    "Starting": {"Running", "Suspending", "Failed", "Terminating"},
    "Running": {"Suspending", "Failed", "Terminating"},
    "Suspending": {"Suspended", "Terminating"},
    "Failed": {"Pending", "Terminating"},
}
"""Which phase may follow which; a watch may miss phases in between."""


def reachable(start: str) -> set[str]:
    """Every phase that may be seen after ``start`` when some are missed."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        for phase in EDGES.get(todo.pop(), set()):
            if phase not in seen:
                seen.add(phase)
                todo.append(phase)
    return seen


def kubectl(demo, *args: str) -> str:
    """The output of one kubectl call on the demo's cluster."""
    command = [*demo.info["kubectl"], "-n", demo.info["namespace"], *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


async def test_kubectl_get_jk_tells_who_what_phase_reason_and_gpu(user, objects, demo) -> None:
    """One line answers who holds which GPU and since when it is idle."""
    ada = await user(0)
    notebook = await ada.open_notebook("kubectl.ipynb", "python3-1-gpu")
    await notebook.run("1")
    header, *rows = (await asyncio.to_thread(kubectl, demo, "get", "jk")).splitlines()
    for column in ("USER", "PHASE", "REASON", "GPU", "IDLE", "AGE"):
        assert column in header
    row = next(line for line in rows if line.startswith(notebook.kernel_id))
    for word in (ada.name, "python3", "1-gpu", "Running", "nvidia.com/gpu"):
        assert word in row


async def test_a_watch_over_a_life_sees_only_allowed_edges(user, objects, demo) -> None:
    """Not started, run, idle, run again, restart, deleted."""
    ada = await user(0)
    seen: list[str] = []
    command = [*demo.info["kubectl"], "-n", demo.info["namespace"], "get", "jk", "-w", "--no-headers"]
    command += ["-o", "custom-columns=NAME:.metadata.name,PHASE:.status.phase"]
    watch = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        notebook = await ada.open_notebook("edges.ipynb", "python3-cpu")

        async def read() -> None:
            assert watch.stdout is not None
            async for line in watch.stdout:
                name, phase = line.decode().split()[:2]
                if name == notebook.kernel_id and phase != "<none>" and (not seen or seen[-1] != phase):
                    seen.append(phase)

        reader = asyncio.create_task(read())
        await notebook.run("1")

        async def asleep() -> bool:
            return (await objects.kernel(notebook.kernel_id))["status"]["phase"] == "Suspended"

        await eventually(asleep, within=25, what="suspended")
        await notebook.run("2")
        await ada.call("POST", f"api/kernels/{notebook.kernel_id}/restart")
        await notebook.run("3")
        await asyncio.sleep(0.5)
        reader.cancel()
    finally:
        watch.terminate()
        await watch.wait()
    assert seen.count("Running") == 3, seen
    previous = ""
    for phase in seen:
        assert phase in reachable(previous), f"{previous} -> {phase} in {seen}"
        previous = phase
