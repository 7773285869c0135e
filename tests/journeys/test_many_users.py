"""Several users at once: everyone sees only their own kernels."""

from __future__ import annotations

import asyncio

import pytest


@pytest.mark.timeout(240)
async def test_four_users_on_eight_gpus_see_only_their_own_kernels(user, objects, demo) -> None:
    """Each runs two kernels of one GPU at the same time; lists and ids of others stay hidden."""
    people = [await user(n) for n in range(4)]
    opened = [[await p.open_notebook(f"mine{n}.ipynb", "python3-1-gpu") for n in range(2)] for p in people]
    runs = await asyncio.gather(
        *(n.run(f"print({p.name!r})", timeout=90) for p, ns in zip(people, opened, strict=True) for n in ns)
    )
    assert [run.text.strip() for run in runs] == [p.name for p in people for _ in range(2)]
    for person, notebooks in zip(people, opened, strict=True):
        listed = {kernel["id"] for kernel in await person.call("GET", "api/kernels")}
        assert {n.kernel_id for n in notebooks} <= listed
        others = {n.kernel_id for other in opened if other is not notebooks for n in other}
        assert not listed & others
        foreign = next(iter(others))
        await person.call("GET", f"api/kernels/{foreign}", ok=(404,))
        await person.call("POST", f"api/kernels/{foreign}/interrupt", ok=(404, 500))
        await person.call("DELETE", f"api/kernels/{foreign}", ok=(404, 500))
    names = {k["metadata"]["name"] for k in await objects.kernels()}
    assert {n.kernel_id for ns in opened for n in ns} <= names, "nobody ended another's kernel"
