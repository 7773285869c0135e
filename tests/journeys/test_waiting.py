"""Every GPU is taken: a cell waits, says for what, and can be interrupted."""

from __future__ import annotations

import pytest

from local_cluster.demo.client import Person
from tests.support.waiting import eventually

TAKEN = [2, 2, 2, 2]
"""Eight GPUs, two a kernel."""


@pytest.fixture
async def every_gpu_taken(user):
    """All eight GPUs are held by busy kernels of one user."""
    holder: Person = await user(1)
    notebooks = [await holder.open_notebook(f"hold{n}.ipynb", f"python3-{size}-gpu") for n, size in enumerate(TAKEN)]
    runs = [await notebook.submit("import time\nfor _ in range(1200): time.sleep(0.1)") for notebook in notebooks]
    for notebook, run in zip(notebooks, runs, strict=True):
        await notebook.until(run, lambda r: r.of_type("execute_input"), timeout=60, what="running")
    return notebooks


async def test_a_cell_waits_for_a_gpu_names_the_reason_and_runs_when_one_is_free(
    user, objects, every_gpu_taken
) -> None:
    """The line names the resource and the scheduler's reason; the cell runs by itself."""
    ada = await user(0)
    notebook = await ada.open_notebook("wait.ipynb", "python3-1-gpu")
    run = await notebook.submit("print('at last')")
    await notebook.until(
        run,
        lambda r: any("Insufficient nvidia.com/gpu" in line for _, line in r.waiting),
        timeout=15,
        what="the reason",
    )
    assert "GPU" in run.waiting[-1][1] or "nvidia.com/gpu" in run.waiting[-1][1]
    assert run.of_type("error") == []
    kernel = await objects.kernel(notebook.kernel_id)
    assert (kernel["status"]["phase"], kernel["status"]["reason"]) == ("Pending", "Unschedulable")
    holder = every_gpu_taken[0]
    await holder.person.call("DELETE", f"api/sessions/{holder.session['id']}")
    await notebook.finish(run, timeout=60)
    assert run.text == "at last\n"
    assert run.outputs == [{"output_type": "stream", "name": "stdout", "text": "at last\n"}]


async def test_an_interrupt_while_waiting_ends_the_cells_and_withdraws_the_pod(user, objects, every_gpu_taken) -> None:
    """The first cell is told, the others are aborted, the pod goes, the next Run works."""
    ada = await user(0)
    notebook = await ada.open_notebook("interrupt.ipynb", "python3-1-gpu")
    first = await notebook.submit("print(1)")
    second = await notebook.submit("print(2)")
    await notebook.until(first, lambda r: "Insufficient" in str(r.waiting), timeout=15, what="the reason")
    await ada.call("POST", f"api/kernels/{notebook.kernel_id}/interrupt")
    await notebook.finish(first, timeout=2)
    await notebook.finish(second, timeout=2)
    assert (first.status, second.status) == ("error", "aborted")

    async def withdrawn() -> bool:
        return not await objects.kernel_pods(notebook.kernel_id)

    await eventually(withdrawn, within=10, what="the pod withdrawn")
    holder = every_gpu_taken[1]
    await holder.person.call("DELETE", f"api/sessions/{holder.session['id']}")
    assert (await notebook.run("print('free')", timeout=60)).text == "free\n"


async def test_a_pod_refused_by_a_quota_is_a_wait_with_its_reason(user, objects, quota) -> None:
    """No error: the quota's own words, and the cell runs once the quota allows it."""
    ada = await user(0)
    async with quota(**{"requests.nvidia.com/gpu": "0"}):
        notebook = await ada.open_notebook("quota.ipynb", "python3-1-gpu")
        run = await notebook.submit("print('allowed')")
        await notebook.until(run, lambda r: "quota" in str(r.waiting), timeout=15, what="the quota's words")
        status = (await objects.kernel(notebook.kernel_id))["status"]
        assert (status["phase"], status["reason"]) == ("Pending", "QuotaExceeded")
        assert await objects.kernel_pods(notebook.kernel_id) == []
    await notebook.finish(run, timeout=60)
    assert run.text == "allowed\n"
