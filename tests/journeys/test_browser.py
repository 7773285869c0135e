"""The main job in a real JupyterLab 4 in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from local_cluster.demo.client import Person
from local_cluster.demo.objects import Objects
from tests.support.demo import RunningDemo
from tests.support.lab import Lab, browser_lab
from tests.support.waiting import eventually

SCREENSHOTS = Path(__file__).parents[2] / ".build" / "screenshots"

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

Login = Callable[[int], Awaitable[Person]]


@pytest.fixture
async def lab(demo: RunningDemo) -> AsyncIterator[Lab]:
    """JupyterLab of the first user."""
    account = demo.info["users"][0]
    async with browser_lab(demo.info["hub_url"], account["name"], account["password"], SCREENSHOTS) as page:
        yield page


async def notebook(person: Person, name: str, cells: list[str], kernelspec: str = "python3-cpu") -> str:
    """A notebook file with cells and a kernel chosen."""
    content = {
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {}, "outputs": [], "source": code, "execution_count": None}
            for n, code in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": kernelspec, "display_name": kernelspec, "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    await person.call("PUT", f"api/contents/{name}", {"type": "notebook", "format": "json", "content": content})
    return name


async def kernel_of(person: Person, path: str) -> str:
    """The kernel id of an open notebook."""

    async def look() -> str:
        found = [s["kernel"]["id"] for s in await person.call("GET", "api/sessions") if s["path"] == path]
        return found[0] if found else ""

    return str(await eventually(look, within=10, what=f"the session of {path}"))


async def saved(person: Person, path: str) -> str:
    """The notebook file as it lies on disk."""
    return str((await person.call("GET", f"api/contents/{path}"))["content"])


async def test_a_notebook_opened_twenty_times_shows_idle_each_time(user: Login, lab: Lab, objects: Objects) -> None:
    """None stays Unknown, and none takes a pod."""
    ada = await user(0)
    path = await notebook(ada, "twenty.ipynb", ["x = 5"])
    times = [await lab.open(path) for _ in range(20)]
    assert max(times) < 2, times
    assert await lab.dialogs() == 0
    assert await objects.kernel_pods(await kernel_of(ada, path)) == []
    await lab.shot("opened")


async def test_first_run_wait_suspend_and_resume_on_the_screen(user: Login, lab: Lab, objects: Objects) -> None:
    """`x = 5`: the waiting line is seen, is gone, and is not in the file; idle; Run; it is back."""
    ada = await user(0)
    path = await notebook(ada, "first-run.ipynb", ["x = 5", "print('second', 6 * 7)", "x"], "python3-1-gpu")
    await lab.open(path)
    await lab.run(0)

    async def waiting_line() -> bool:
        return "GPU" in await lab.output(0) or "nvidia.com/gpu" in await lab.output(0)

    await lab.until(waiting_line, within=3, what="the waiting line")
    await lab.shot("waiting")
    await lab.save()
    assert "elastic-jupyter" not in await saved(ada, path), "a save in the wait keeps no line"
    assert await lab.done(0) == "[1]"
    assert await lab.output(0) == ""
    await lab.shot("ran")
    await lab.run(1)
    assert await lab.done(1) == "[2]"
    kernel = await kernel_of(ada, path)

    async def asleep() -> bool:
        return not await objects.kernel_pods(kernel)

    await eventually(asleep, within=20, what="pod gone")
    await lab.status("idle")
    await lab.shot("suspended")
    await lab.run(1)
    await lab.until(lambda: _is(lab.prompt(1), "[1]"), within=30, what="the resumed run")
    assert await lab.output(1) == "second 42"
    await lab.run(2)
    await lab.done(2)
    assert "NameError" in await lab.output(2)
    assert "suspended" in (await lab.output(2)).lower()
    await lab.shot("resumed")
    assert await lab.dialogs() == 0


async def _is(value: Awaitable[str], expected: str) -> bool:
    return await value == expected


async def test_run_all_interrupt_while_waiting_and_restart_on_the_screen(
    user: Login, lab: Lab, quota: Callable
) -> None:
    """Cells run in order; an interrupt in the wait ends them; a restart starts the count again."""
    ada = await user(0)
    path = await notebook(ada, "run-all.ipynb", ["a = [1]", "a.append(2)", "print(a)"], "python3-1-gpu")
    await lab.open(path)
    async with quota(**{"requests.nvidia.com/gpu": "0"}):
        await lab.menu("Run", "Run All Cells")

        async def quota_named() -> bool:
            return "quota" in (await lab.output(0)).lower()

        await lab.until(quota_named, within=15, what="the quota in the line")
        await lab.shot("quota")
        await lab.menu("Kernel", "Interrupt Kernel")
        await lab.until(lambda: _is(lab.prompt(0), "[ ]"), within=3, what="the first cell ended")
        for number in range(3):
            assert await lab.prompt(number) != "[*]"
    await lab.menu("Run", "Run All Cells")
    assert [await lab.done(n) for n in range(3)] == ["[1]", "[2]", "[3]"]
    assert await lab.output(2) == "[1, 2]"
    await lab.menu("Kernel", "Restart Kernel…")
    await lab.page.click(".jp-Dialog .jp-mod-accept")
    await lab.status("idle", within=15)
    await lab.run(2)
    await lab.until(lambda: _is(lab.prompt(2), "[1]"), within=30, what="the run after the restart")
    assert "NameError" in await lab.output(2)
    assert await lab.dialogs() == 0


async def test_reload_while_waiting_and_while_running_leaves_no_cell_hanging(
    user: Login, lab: Lab, quota: Callable
) -> None:
    """The new page says Busy until the end, then Idle; the next Run works."""
    ada = await user(0)
    path = await notebook(ada, "reload.ipynb", ["import time; time.sleep(6)", "print('after')"], "python3-1-gpu")
    await lab.open(path)
    async with quota(**{"requests.nvidia.com/gpu": "0"}):
        await lab.run(0)
        await asyncio.sleep(1)
        await lab.reload()
        await lab.status("busy", within=10)
    await asyncio.sleep(5)
    await lab.reload()
    await lab.status("idle", within=30)
    await lab.run(1)
    await lab.done(1)
    assert await lab.output(1) == "after"
    assert await lab.dialogs() == 0


async def test_two_tabs_share_one_kernel(user: Login, lab: Lab) -> None:
    """The second tab's Run appears there, and the count goes on."""
    ada = await user(0)
    path = await notebook(ada, "tabs.ipynb", ["v = 7", "print(v)"])
    await lab.open(path)
    await lab.run(0)
    assert await lab.done(0) == "[1]"
    await lab.save()
    second = Lab(await lab.page.context.new_page(), lab.hub_url, lab.user, lab.screenshots)
    await second.page.goto(f"{lab.hub_url}/user/{lab.user}/lab/workspaces/second/tree/{path}")
    await second.idle_after_panel()
    await second.run(1)
    assert await second.done(1) == "[2]"
    assert await second.output(1) == "7"
    await lab.status("idle")
    assert await lab.prompt(1) != "[*]"
    assert await lab.dialogs() + await second.dialogs() == 0


async def test_widgets_with_binary_data_are_drawn(user: Login, lab: Lab) -> None:
    """A slider and an Image widget appear; a file given to FileUpload arrives in the kernel byte by byte."""
    ada = await user(0)
    cells = [
        "import ipywidgets as w, base64; s = w.IntSlider(value=3); s",
        f"w.Image(value=base64.b64decode('{PIXEL}'), width=40, height=40)",
        "u = w.FileUpload(); u",
        "print(bytes(u.value[0]['content']) == bytes([255, 254]) * 3000)",
    ]
    path = await notebook(ada, "widgets.ipynb", cells)
    await lab.open(path)
    for number in range(3):
        await lab.run(number)
        await lab.done(number)
    await lab.page.wait_for_selector(f"{_panel()} .widget-slider, {_panel()} .jupyter-widget-slider", timeout=10000)
    await lab.page.wait_for_selector(
        f"{_panel()} img.widget-image, {_panel()} .jupyter-widgets.widget-image", timeout=10000
    )
    upload = lab.cell(2).locator("button.jupyter-button, button.widget-upload")
    async with lab.page.expect_file_chooser() as chooser:
        await upload.first.click()
    await (await chooser.value).set_files(
        {"name": "raw.bin", "mimeType": "application/octet-stream", "buffer": bytes([255, 254]) * 3000}
    )
    await asyncio.sleep(1)
    await lab.run(3)
    await lab.done(3)
    assert await lab.output(3) == "True"
    await lab.shot("widgets")


def _panel() -> str:
    return ".jp-NotebookPanel:not(.lm-mod-hidden)"
