"""What people do with a kernel: type answers, interrupt, restart, draw widgets, print a lot, lose the network."""

from __future__ import annotations

import asyncio
from time import monotonic

from tests.support.waiting import eventually

MIB = 1024 * 1024


async def test_input_prompts_and_takes_the_answer_in_the_very_first_cell(user) -> None:
    """stdin works from the first cell on."""
    ada = await user(0)
    notebook = await ada.open_notebook("stdin.ipynb", "python3-cpu")
    notebook.on_input = lambda prompt: f"{prompt}Ada"
    run = await notebook.run("print('hello', input('who? '))")
    assert run.text == "hello who? Ada\n"


async def test_an_interrupt_ends_a_sleeping_loop_within_a_second(user) -> None:
    """KeyboardInterrupt, and the kernel lives on with its variables."""
    ada = await user(0)
    notebook = await ada.open_notebook("loop.ipynb", "python3-cpu")
    await notebook.run("n = 7")
    run = await notebook.submit("import time\nwhile True: time.sleep(0.05)")
    await notebook.until(run, lambda r: r.of_type("execute_input"), what="running")
    asked = monotonic()
    await ada.call("POST", f"api/kernels/{notebook.kernel_id}/interrupt")
    await notebook.finish(run, timeout=5)
    assert monotonic() - asked < 1
    assert run.of_type("error")[0]["ename"] == "KeyboardInterrupt"
    assert (await notebook.run("print(n)")).text == "7\n"


async def test_a_restart_gives_a_fresh_kernel_under_the_same_id(user, objects) -> None:
    """Variables are gone, the count starts again, and nobody is told about a suspension."""
    ada = await user(0)
    notebook = await ada.open_notebook("restart.ipynb", "python3-cpu")
    await notebook.run("n = 7")
    await ada.call("POST", f"api/kernels/{notebook.kernel_id}/restart")
    run = await notebook.run("n")
    assert run.of_type("error")[0]["ename"] == "NameError"
    assert "suspended" not in str(run.outputs).lower()
    assert run.reply["content"]["execution_count"] == 1
    assert (await objects.kernel(notebook.kernel_id))["status"]["incarnation"] == 2


async def test_a_restart_of_a_suspended_kernel_makes_no_pod(user, objects) -> None:
    """There is nothing to restart; the next Run starts as usual."""
    ada = await user(0)
    notebook = await ada.open_notebook("restart-asleep.ipynb", "python3-cpu")
    await ada.call("POST", f"api/kernels/{notebook.kernel_id}/restart")
    await asyncio.sleep(1)
    assert await objects.kernel_pods(notebook.kernel_id) == []
    assert (await notebook.run("print(1)")).text == "1\n"


async def test_shutdown_from_the_menu_leaves_nothing(user, objects) -> None:
    """Pod and JupyterKernel are gone."""
    ada = await user(0)
    notebook = await ada.open_notebook("shutdown.ipynb", "python3-cpu")
    await notebook.run("1")
    await ada.call("DELETE", f"api/kernels/{notebook.kernel_id}")

    async def gone() -> bool:
        names = [k["metadata"]["name"] for k in await objects.kernels()]
        return notebook.kernel_id not in names and not await objects.kernel_pods(notebook.kernel_id)

    await eventually(gone, within=15, what="pod and object gone")


async def test_twenty_megabytes_arrive_in_one_display_and_in_many_prints(user) -> None:
    """Large outputs arrive whole and the kernel answers afterwards."""
    ada = await user(0)
    notebook = await ada.open_notebook("large.ipynb", "python3-cpu")
    run = await notebook.run(f"from IPython.display import HTML, display; display(HTML('x' * {20 * MIB}))")
    assert len(run.of_type("display_data")[-1]["data"]["text/html"]) == 20 * MIB
    run = await notebook.run("for n in range(200): print('y' * 104857, flush=True)")
    assert len(run.text) == 200 * 104858
    assert (await notebook.run("print('fine')")).text == "fine\n"


async def test_a_cut_in_a_running_cell_loses_nothing_and_repeats_nothing(user) -> None:
    """The browser's connection drops for a moment in the middle of a print loop."""
    ada = await user(0)
    notebook = await ada.open_notebook("cut.ipynb", "python3-cpu")
    await notebook.run("import time")
    run = await notebook.submit("for n in range(40):\n    print(n, flush=True); time.sleep(0.1)")
    queued = await notebook.submit("print('queued')")
    await notebook.until(run, lambda r: "15\n" in r.text, what="line 15")
    await notebook.cut()
    await asyncio.sleep(1.5)
    await notebook.connect()
    await notebook.finish(run, timeout=20)
    await notebook.finish(queued, timeout=20)
    assert queued.text == "queued\n"
    printed = [int(line) for line in run.text.split()]
    assert printed == sorted(set(printed)), "nothing twice"
    assert printed[-1] == 39


async def test_a_cut_in_the_wait_leaves_no_cell_hanging(user, quota) -> None:
    """Both cells run although the connection dropped while they waited for their pod."""
    ada = await user(0)
    notebook = await ada.open_notebook("cut-wait.ipynb", "python3-1-gpu")
    async with quota(**{"requests.nvidia.com/gpu": "0"}):
        first = await notebook.submit("print('first')")
        second = await notebook.submit("print('second')")
        await notebook.until(first, lambda r: "quota" in str(r.waiting), what="waiting")
        await notebook.cut()
        await asyncio.sleep(0.5)
        await notebook.connect()
    await notebook.finish(first, timeout=30)
    await notebook.finish(second, timeout=30)
    assert (first.text, second.text) == ("first\n", "second\n")
    assert first.outputs == [{"output_type": "stream", "name": "stdout", "text": "first\n"}]


async def test_a_slow_tab_does_not_hold_up_a_fast_one(user) -> None:
    """Two tabs on one kernel; one never reads."""
    ada = await user(0)
    notebook = await ada.open_notebook("tabs.ipynb", "python3-cpu")
    await notebook.run("1")
    slow = type(notebook)(ada, notebook.session)
    ada.notebooks.append(slow)
    await slow.connect()
    slow.stop_reading()
    run = await notebook.run("for n in range(60): print('z' * 1048576, flush=True)", timeout=60)
    assert len(run.text) == 60 * 1048577
    started = monotonic()
    assert (await notebook.run("print(1)")).text == "1\n"
    assert monotonic() - started < 2


async def test_a_kernel_that_exits_ends_its_cells_and_comes_back_with_the_next_run(user) -> None:
    """No cell is left waiting, whatever way the process goes."""
    ada = await user(0)
    notebook = await ada.open_notebook("exit.ipynb", "python3-cpu")
    for code in (
        "import os, time; time.sleep(0.5); os._exit(3)",
        "import ctypes, time; time.sleep(0.5); ctypes.string_at(0)",
    ):
        await notebook.run("1")
        dying = await notebook.submit(code)
        queued = await notebook.submit("print('queued')")
        await notebook.finish(dying, timeout=15)
        await notebook.finish(queued, timeout=15)
        assert dying.status == "error"
        assert queued.status == "aborted"
        assert (await notebook.run("print('back')")).text == "back\n"
    asked = await notebook.run("exit()")
    assert asked.status == "ok"
    assert (await notebook.run("print('again')")).text == "again\n"


async def test_a_pod_deleted_from_outside_is_an_error_with_its_reason_not_a_hang(user, objects) -> None:
    """`kubectl delete pod` under a busy cell."""
    ada = await user(0)
    notebook = await ada.open_notebook("deleted.ipynb", "python3-cpu")
    await notebook.run("1")
    run = await notebook.submit("print('begun', flush=True); import time; time.sleep(60)")
    await notebook.until(run, lambda r: "begun" in r.text, what="running")
    pod = (await objects.kernel_pods(notebook.kernel_id))[0]
    await objects.delete_pod(pod["metadata"]["name"])
    await notebook.finish(run, timeout=15)
    assert run.status == "error"
    assert "begun" in str(run.outputs), "what was printed stays"
    assert (await notebook.run("print('back')")).text == "back\n"


async def test_a_widget_takes_a_comm_message_and_answers(user) -> None:
    """An ipywidgets slider moved in the browser reaches the kernel."""
    ada = await user(0)
    notebook = await ada.open_notebook("slider.ipynb", "python3-cpu")
    run = await notebook.run("import ipywidgets; s = ipywidgets.IntSlider(value=3); s")
    comm = next(
        c["comm_id"] for c in run.of_type("comm_open") if c["data"]["state"].get("_model_name") == "IntSliderModel"
    )
    await notebook.send(
        "comm_msg", {"comm_id": comm, "data": {"method": "update", "state": {"value": 42}, "buffer_paths": []}}
    )
    assert (await notebook.run("print(s.value)")).text == "42\n"
