"""The user server goes and comes back; its notebooks find their kernels."""

from __future__ import annotations

import asyncio

from tests.support.waiting import eventually


async def _sessions(person, path):
    found = [s for s in await person.call("GET", "api/sessions") if s["path"] == path]
    return found[0] if found else None


async def test_a_busy_kernel_outlives_its_user_server_and_is_found_again_with_its_variables(user, objects) -> None:
    """Stopped by the user while a cell runs: the cell goes on, the notebook finds the same kernel."""
    grace = await user(1)
    notebook = await grace.open_notebook("outlive.ipynb", "python3-cpu")
    await notebook.run("kept = 'still here'")
    await notebook.submit("import time; time.sleep(12)")
    await asyncio.sleep(0.5)
    await grace.stop_server()
    kernel = await objects.kernel(notebook.kernel_id)
    assert kernel["status"]["phase"] == "Running"
    await grace.start_server()
    session = await eventually(lambda: _sessions(grace, "outlive.ipynb"), within=10, what="the session")
    assert session["kernel"]["id"] == notebook.kernel_id
    again = type(notebook)(grace, session)
    grace.notebooks.append(again)
    await again.connect()
    assert (await again.run("print(kept)")).text == "still here\n"


async def test_an_idle_kernel_is_suspended_at_once_when_its_user_server_ends(user, objects) -> None:
    """Nobody can use it before the server is back, so it holds nothing; afterwards it works."""
    grace = await user(1)
    notebook = await grace.open_notebook("asleep.ipynb", "python3-1-gpu")
    await notebook.run("1")
    await grace.stop_server()

    async def asleep() -> bool:
        return not await objects.kernel_pods(notebook.kernel_id)

    await eventually(asleep, within=5, what="the pod gone before the idle time")
    await grace.start_server()
    session = await eventually(lambda: _sessions(grace, "asleep.ipynb"), within=10, what="the session")
    assert session["kernel"]["id"] == notebook.kernel_id
    again = type(notebook)(grace, session)
    grace.notebooks.append(again)
    await again.connect()
    assert (await again.run("print('awake')")).text == "awake\n"
