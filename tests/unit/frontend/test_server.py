"""The extension in a real jupyter_server, beside a gateway that a test can take away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from elastic_frontend.protocol import new_frame, pack_v1, unpack_v1
from tests.support.user_server import KERNEL, LARGE, SESSION, GatewayThatGoesAway, send, until_reply, user_server


async def test_a_cell_clicked_while_the_gateway_is_away_runs_once_when_it_is_back(gateway, tmp_path: Path) -> None:
    """Kept, in order, and sent once."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert await until_reply(browser, await send(browser, "before")) == "before"
            await gateway.go()
            await asyncio.sleep(0.5)
            ids = [await send(browser, code) for code in ("while away 1", "while away 2")]
            await asyncio.sleep(3)
            await gateway.come()
            assert [await until_reply(browser, i) for i in ids] == ["while away 1", "while away 2"]
    assert gateway.cells == ["before", "while away 1", "while away 2"]


async def test_a_cell_without_a_reply_is_asked_about_after_a_reconnect_and_not_sent_again(
    gateway, tmp_path: Path
) -> None:
    """It may have run, so only the gateway can say."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            msg_id = await send(browser, "in flight")
            async with asyncio.timeout(5):
                while not gateway.cells:
                    await asyncio.sleep(0.05)
            await gateway.go()
            await gateway.come()
            async with asyncio.timeout(10):
                while not gateway.pending:
                    await asyncio.sleep(0.05)
    assert gateway.pending[0] == [msg_id]
    assert gateway.cells == ["in flight"]


async def test_binary_data_and_twenty_megabytes_pass_both_ways(gateway, tmp_path: Path) -> None:
    """What the stock connection breaks on."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert len(await until_reply(browser, await send(browser, "large"))) == LARGE
            frame = new_frame("shell", "comm_msg", {"comm_id": "c"}, session="tab")
            frame.parts.append(b"\xff\xfe" * (LARGE // 4))
            await browser.send_bytes(pack_v1(frame))
            async with asyncio.timeout(15):
                while (back := unpack_v1((await browser.receive()).data)).header["msg_type"] != "comm_msg":
                    continue
            assert back.parts[4] == frame.parts[4]
            assert await until_reply(browser, await send(browser, "after")) == "after"


async def test_without_a_gateway_the_server_starts_and_its_launcher_says_why_there_are_no_kernels(
    tmp_path: Path,
) -> None:
    """And offers them as soon as the gateway answers."""
    gateway = GatewayThatGoesAway()
    async with user_server(tmp_path / "home", gateway.url) as call:
        specs = (await call("GET", "api/kernelspecs"))["kernelspecs"]
        assert [s["spec"]["display_name"] for s in specs.values()] == ["No kernels now: the gateway does not answer"]
        assert await call("GET", "api/status")
        assert await call("GET", "api/kernels") == []
        await gateway.come()
        try:
            assert list((await call("GET", "api/kernelspecs"))["kernelspecs"]) == ["python3-cpu"]
        finally:
            await gateway.go()


async def test_the_servers_end_deletes_no_kernel_and_a_new_server_finds_it_with_its_notebook(
    gateway, tmp_path: Path
) -> None:
    """Idle kernels are asked to be suspended."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
    assert gateway.calls == [f"POST /api/kernels/{KERNEL}/suspend"]
    async with user_server(tmp_path / "home", gateway.url) as call:
        sessions = await call("GET", "api/sessions")
        assert [(s["path"], s["kernel"]["id"]) for s in sessions] == [("n.ipynb", KERNEL)]


async def test_while_the_gateway_is_away_a_notebook_keeps_its_kernel(gateway, tmp_path: Path) -> None:
    """Unknown is not gone: neither the session nor the kernel is dropped."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        await gateway.go()
        assert [k["id"] for k in await call("GET", "api/kernels")] == [KERNEL]
        assert (await call("GET", f"api/kernels/{KERNEL}"))["id"] == KERNEL
        assert len(await call("GET", "api/sessions")) == 1
        await gateway.come()
        gateway.kernels.clear()
        assert await call("GET", "api/kernels") == []
        await call("GET", f"api/kernels/{KERNEL}", status=404)


async def test_a_server_that_is_not_pointed_at_a_gateway_is_as_without_the_extension(tmp_path: Path) -> None:
    """Its own kernels, its own connection, no file of ours."""
    async with user_server(tmp_path / "home") as call:
        assert "python3" in (await call("GET", "api/kernelspecs"))["kernelspecs"]
    assert "elastic_frontend: kernels run at" not in (tmp_path / "home" / "log").read_text()
    assert not list((tmp_path / "home").rglob("sessions-*.db"))
