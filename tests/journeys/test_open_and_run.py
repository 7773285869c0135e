"""A notebook is opened and run: no pod before the first Run, exactly one after it."""

from __future__ import annotations

import asyncio
from time import monotonic

from local_cluster.demo.objects import gpus
from tests.support.waiting import eventually


async def test_opening_three_notebooks_and_browsing_them_creates_no_pod(user, objects) -> None:
    """Opening, asking for the language, completing and inspecting take no pod."""
    ada = await user(0)
    opened = []
    for number in range(3):
        notebook = await ada.open_notebook(f"browse{number}.ipynb", "python3-1-gpu")
        started = monotonic()
        info = await notebook.ask("kernel_info_request", {})
        assert info["language_info"]["name"] == "python"
        assert monotonic() - started < 1
        await notebook.ask("complete_request", {"code": "impo", "cursor_pos": 4})
        await notebook.ask("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0})
        await notebook.ask("comm_info_request", {})
        await notebook.ask("is_complete_request", {"code": "1+1"})
        await notebook.ask("history_request", {"hist_access_type": "tail", "n": 1, "raw": True, "output": False})
        opened.append(notebook.kernel_id)
    for kernel in opened:
        assert await objects.kernel_pods(kernel) == []
        assert (await objects.kernel(kernel))["status"]["phase"] == "Suspended"


async def test_the_first_run_creates_one_pod_of_the_chosen_size_and_leaves_no_trace_in_the_cell(user, objects) -> None:
    """One pod with the size's requests; the waiting line is seen and gone."""
    ada = await user(0)
    notebook = await ada.open_notebook("first.ipynb", "python3-2-gpu")
    run = await notebook.run("x = 5")
    assert run.status == "ok"
    assert run.waiting, "the cell named what it waited for"
    assert run.waiting[0][0] < 2
    assert run.outputs == []
    pods = await objects.kernel_pods(notebook.kernel_id)
    assert [gpus(pod) for pod in pods] == [2]
    kernel = await objects.kernel(notebook.kernel_id)
    assert kernel["status"]["incarnation"] == 1
    assert kernel["status"]["phase"] == "Running"


async def test_run_all_keeps_its_order_over_the_wait(user) -> None:
    """Cells sent while the pod is being made run in the order in which they were sent."""
    ada = await user(0)
    notebook = await ada.open_notebook("order.ipynb", "python3-cpu")
    runs = [await notebook.submit(f"print({n}); l = globals().setdefault('l', []); l.append({n}); l") for n in range(6)]
    for run in runs:
        await notebook.finish(run)
    assert [run.reply["content"]["execution_count"] for run in runs] == [1, 2, 3, 4, 5, 6]
    assert runs[-1].of_type("execute_result")[0]["data"]["text/plain"] == "[0, 1, 2, 3, 4, 5]"
    assert all(not run.waiting for run in runs[1:]), "only the first cell shows the line"


async def test_a_kernel_starts_in_its_notebooks_folder_and_sees_the_same_home(user) -> None:
    """What the kernel writes beside the notebook, the user server lists."""
    ada = await user(0)
    await ada.call("PUT", "api/contents/deep", {"type": "directory"})
    notebook = await ada.open_notebook("deep/here.ipynb", "python3-cpu")
    run = await notebook.run("import os, pathlib; pathlib.Path('made-here.txt').write_text('hi'); print(os.getcwd())")
    assert run.text.strip().endswith("/deep")
    listed = await eventually(lambda: ada.call("GET", "api/contents/deep/made-here.txt"), within=5, what="the file")
    assert listed["content"] == "hi"


async def test_a_cell_that_misses_a_variable_after_a_resume_is_told_why(user, objects) -> None:
    """The next life works, and only a cell that needs to know is told that variables are gone."""
    ada = await user(0)
    notebook = await ada.open_notebook("resume.ipynb", "python3-cpu")
    await notebook.run("kept = 1")

    async def suspended() -> bool:
        return (await objects.kernel(notebook.kernel_id))["status"]["phase"] == "Suspended"

    await eventually(suspended, within=20, what="suspended")
    clean = await notebook.run("print('still fine')")
    assert clean.status == "ok"
    assert clean.of_type("error") == []
    assert clean.text == "still fine\n"
    missing = await notebook.run("kept")
    assert missing.status == "error"
    assert missing.of_type("error")[0]["ename"] == "NameError"
    assert "suspended" in str(missing.outputs).lower()
    assert (await objects.kernel(notebook.kernel_id))["status"]["incarnation"] == 2
    again = await notebook.run("kept")
    assert "suspended" not in str(again.outputs).lower(), "told once"


async def test_three_cells_at_once_on_three_notebooks_each_get_a_pod_of_their_own(user, objects) -> None:
    """Kernels do not share pods."""
    ada = await user(0)
    notebooks = [await ada.open_notebook(f"own{n}.ipynb", "python3-cpu") for n in range(3)]
    runs = await asyncio.gather(*(n.run("import os; print(os.environ['POD_IP'])") for n in notebooks))
    assert len({run.text for run in runs}) == 3
