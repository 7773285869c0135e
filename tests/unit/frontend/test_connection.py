"""A notebook's connection in a real user server, beside gateways that misbehave: no cell is lost, doubled or left."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import monotonic

import aiohttp
from aiohttp import web
from jupyter_server.services.kernels.connection.base import deserialize_binary_message, serialize_binary_message

from elastic_frontend.protocol import Frame, new_frame, pack_v1
from tests.support.user_server import (
    KERNEL,
    SESSION,
    GatewayThatGoesAway,
    GatewayThatNeverAnswers,
    answer_of,
    next_frame,
    send,
    until_reply,
    user_server,
)
from tests.support.waiting import eventually

FAST = {"ElasticGatewayConnection__longest_retry": 0.05, "ElasticGatewayConnection__connect_timeout": 0.5}


async def _true(value: object) -> object:
    return value


async def test_it_tries_again_without_end_and_never_in_a_hurry(gateway, tmp_path: Path) -> None:
    """Far past the five tries of the stock connection; the pauses grow to the longest and no further."""
    longest = 0.2
    async with user_server(tmp_path / "home", gateway.url, ElasticGatewayConnection__longest_retry=longest) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        gateway.refuses_channels_with = 503
        async with call.connect() as browser:
            msg_id = await send(browser, "patient")
            await eventually(lambda: _true(len(gateway.handshakes) >= 30), within=20, what="thirty tries")
            pauses = [later - earlier for earlier, later in pairwise(gateway.handshakes)]
            assert 0.04 < median(pauses) < longest + 0.1
            gateway.refuses_channels_with = 0
            assert await until_reply(browser, msg_id, within=3) == "patient"
    assert gateway.cells == ["patient"]


async def test_a_gateway_that_accepts_and_says_nothing_is_left_and_tried_again(tmp_path: Path) -> None:
    """A hung gateway does not hold a notebook for the minutes that a request may take."""
    hung, gateway = GatewayThatNeverAnswers(), GatewayThatGoesAway()
    await gateway.come()
    try:
        async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
            await call("POST", "api/sessions", SESSION, status=201)
            await gateway.go()
            hung.port = gateway.port
            await hung.come()
            async with call.connect() as browser:
                msg_id = await send(browser, "late")
                await asyncio.sleep(1)
                await hung.go()
                await gateway.come()
                assert await until_reply(browser, msg_id, within=5) == "late"
        assert gateway.cells == ["late"]
    finally:
        await hung.go()
        await gateway.go()


async def test_one_websocket_for_one_page_and_none_after_it_closed(gateway, tmp_path: Path) -> None:
    """Also if the page closes while the gateway still hesitates to accept."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert await until_reply(browser, await send(browser, "1")) == "1"
            assert len(gateway.handshakes) == len(gateway.sockets) == 1
        await eventually(lambda: _true(not gateway.sockets), within=2, what="the WebSocket closed")

        accept, opened = asyncio.Event(), gateway.channels

        async def hesitant(request: web.Request) -> web.StreamResponse:
            await accept.wait()
            return await opened(request)

        await gateway.go()
        gateway.channels = hesitant
        await gateway.come()
        async with call.connect():
            await asyncio.sleep(0.3)
        accept.set()
        await eventually(lambda: _true(len(gateway.handshakes) == 2), within=2, what="the second handshake")
        await eventually(lambda: _true(not gateway.sockets), within=2, what="no WebSocket left without a reader")


async def test_cells_keep_their_order_when_one_has_to_be_sent_again(gateway, tmp_path: Path) -> None:
    """What was clicked while the gateway was away goes after what it says it never had."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            first = await send(browser, "first")
            await eventually(lambda: _true(gateway.cells), within=5, what="the first cell")
            await gateway.go()
            second = await send(browser, "second")
            gateway.cells.clear()
            gateway.never_had, gateway.answer_cells = [first], True
            slow = gateway.asked

            async def slowly(opened: web.WebSocketResponse, msg_ids: list[str]) -> None:
                await asyncio.sleep(0.5)
                await slow(opened, msg_ids)

            gateway.asked = slowly
            await gateway.come()
            assert [await until_reply(browser, i) for i in (first, second)] == ["first", "second"]
    assert gateway.pending == [[first]]
    assert gateway.cells == ["first", "second"]


async def test_a_gateway_that_does_not_answer_the_question_holds_nothing_up_for_long(gateway, tmp_path: Path) -> None:
    """One that is not ours does not know it."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            await send(browser, "in flight")
            await eventually(lambda: _true(gateway.cells), within=5, what="the cell")
            await gateway.go()
            gateway.asked = lambda opened, msg_ids: asyncio.sleep(0)
            gateway.answer_cells = True
            later = await send(browser, "later")
            await gateway.come()
            assert await until_reply(browser, later, within=5) == "later"


async def test_a_cell_has_one_reply_even_if_the_gateway_gives_it_up_after_the_true_one(gateway, tmp_path: Path) -> None:
    """The reply that was kept for the page arrives first; the guess that follows is not shown."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            msg_id = await send(browser, "1")
            await eventually(lambda: _true(gateway.cells), within=5, what="the cell")

            async def answers_twice(opened: web.WebSocketResponse, msg_ids: list[str]) -> None:
                parent = json.dumps({"msg_id": msg_ids[0]}).encode()
                await gateway.reply(opened, parent, "true")
                guess = {"ename": "GatewayRestarted", "evalue": "it may have run", "traceback": []}
                for channel, kind in (("iopub", "error"), ("shell", "execute_reply")):
                    content = {"status": "error", **guess}
                    await opened.send_bytes(pack_v1(new_frame(channel, kind, content, session="k", parent=parent)))
                await gateway.reply(opened, json.dumps({"msg_id": "end"}).encode(), "")

            await gateway.go()
            gateway.asked = answers_twice
            await gateway.come()
            seen = []
            async with asyncio.timeout(5):
                while (frame := await next_frame(browser)).parent_id != "end":
                    if frame.parent_id == msg_id:
                        seen.append(frame.header["msg_type"])
    assert seen == ["stream", "execute_reply", "status"]


async def test_cells_that_wait_outlive_a_cut_between_page_and_server(gateway, tmp_path: Path) -> None:
    """The page comes back with its session and sends nothing again."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        await gateway.go()
        async with call.connect("tab") as browser:
            msg_id = await send(browser, "kept")
            await asyncio.sleep(0.3)
        async with call.connect("tab") as browser:
            await gateway.come()
            assert await until_reply(browser, msg_id) == "kept"
    assert gateway.cells == ["kept"]


async def test_a_cell_without_a_reply_is_asked_about_after_a_cut_between_page_and_server(
    gateway, tmp_path: Path
) -> None:
    """Else nobody would, if the gateway was killed meanwhile."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        gateway.answer_cells = False
        async with call.connect("tab") as browser:
            msg_id = await send(browser, "1")
            await eventually(lambda: _true(gateway.cells), within=5, what="the cell")
        async with call.connect("tab"):
            await eventually(lambda: _true(gateway.pending), within=5, what="the question")
    assert gateway.pending == [[msg_id]]


async def test_what_cannot_wait_is_refused_at_once_and_the_rest_runs(gateway, tmp_path: Path) -> None:
    """A cell too large to keep gets an error reply; one before it is kept."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert await until_reply(browser, await send(browser, "1")) == "1"
            await gateway.go()
            await asyncio.sleep(0.3)
            small = await send(browser, "small")
            huge = await send(browser, "#" * (65 * 1024 * 1024))
            _, reply = await answer_of(browser, huge)
            assert (reply["status"], reply["ename"]) == ("error", "GatewayUnavailable")
            await gateway.come()
            assert await until_reply(browser, small) == "small"
    assert gateway.cells == ["1", "small"]


async def test_a_cell_that_waited_too_long_is_told_so_and_does_not_run_by_surprise(gateway, tmp_path: Path) -> None:
    """With the time that it waited in the error."""
    traits = FAST | {"ElasticGatewayConnection__longest_wait": 1}
    async with user_server(tmp_path / "home", gateway.url, **traits) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert await until_reply(browser, await send(browser, "1")) == "1"
            await gateway.go()
            await asyncio.sleep(0.3)
            _, reply = await answer_of(browser, await send(browser, "old"), within=5)
            assert "did not answer for 1 s" in reply["evalue"]
            await gateway.come()
            assert await until_reply(browser, await send(browser, "new")) == "new"
    assert gateway.cells == ["1", "new"]


async def test_a_kernel_that_the_gateway_removed_ends_its_cells_and_its_page(gateway, tmp_path: Path) -> None:
    """No cell is left running; the page that asks hears 404, and the notebook has no kernel."""
    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            in_flight = await send(browser, "1")
            await eventually(lambda: _true(gateway.cells), within=5, what="the cell")
            await gateway.go()
            gateway.kernels.clear()
            await gateway.come()
            _, reply = await answer_of(browser, in_flight, within=5)
            assert "may have run" in reply["evalue"]
            async with asyncio.timeout(5):
                while (await browser.receive()).type is aiohttp.WSMsgType.BINARY:
                    continue
        await call("GET", f"api/kernels/{KERNEL}", status=404)
        assert await call("GET", "api/sessions") == []


async def test_a_proxys_404_does_not_end_a_kernel(gateway, tmp_path: Path) -> None:
    """As an ingress answers while it has no gateway behind it."""

    async def nothing_here(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="<html>default backend - 404</html>", content_type="text/html")

    async with user_server(tmp_path / "home", gateway.url, **FAST) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert await until_reply(browser, await send(browser, "1")) == "1"
            await gateway.go()
            usual = gateway.channels, gateway.one, gateway.listed
            gateway.channels = gateway.one = gateway.listed = nothing_here
            await gateway.come()
            msg_id = await send(browser, "after all")
            await asyncio.sleep(0.5)
            assert [k["id"] for k in await call("GET", "api/kernels")] == [KERNEL]
            assert len(await call("GET", "api/sessions")) == 1
            await gateway.go()
            gateway.channels, gateway.one, gateway.listed = usual
            await gateway.come()
            assert await until_reply(browser, msg_id) == "after all"


async def test_a_page_that_knows_only_the_older_framing_has_binary_data_both_ways(gateway, tmp_path: Path) -> None:
    """Widgets of older clients."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect(protocols=()) as browser:
            header = {"msg_id": "1", "msg_type": "comm_msg", "session": "s", "username": "", "version": "5.3"}
            message = {
                "header": header, "parent_header": {}, "metadata": {}, "content": {"comm_id": "c"},
                "channel": "shell", "buffers": [b"\xff\xfe"],
            }  # fmt: skip
            await browser.send_bytes(serialize_binary_message(message))
            async with asyncio.timeout(5):
                back = deserialize_binary_message((await browser.receive()).data)
            assert (back["channel"], back["buffers"]) == ("iopub", [b"\xff\xfe"])
            await browser.send_json(message | {"header": header | {"msg_type": "execute_request"},
                                               "content": {"code": "text"}, "buffers": []})  # fmt: skip
            async with asyncio.timeout(5):
                assert (await browser.receive_json())["content"]["text"] == "text"


async def test_what_is_no_message_is_dropped_and_ends_nothing(gateway, tmp_path: Path) -> None:
    """From the page as from the gateway."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            await browser.send_bytes(b"\xff" * 64)
            await browser.send_str("nonsense")
            await browser.send_str("[]")
            await browser.send_bytes(pack_v1(Frame("shell", [b"[]", b"{}", b"{}", b"{}"])))
            assert await until_reply(browser, await send(browser, "1")) == "1"
            for opened in gateway.sockets:
                await opened.send_bytes(b"\xff" * 64)
                await opened.send_str("nonsense")
                await opened.send_bytes(pack_v1(Frame("iopub", [b"[]", b"[]", b"{}", b"{}"])))
            assert await until_reply(browser, await send(browser, "2")) == "2"
        assert len(gateway.handshakes) == 1


async def test_a_page_that_reads_slowly_misses_outputs_and_no_reply(gateway, tmp_path: Path) -> None:
    """It is told so where something is missing; the server's memory does not grow with what it does not read."""
    traits = {"ElasticGatewayConnection__max_backlog": 1024 * 1024}
    piece = "x" * 1024 * 1024
    async with user_server(tmp_path / "home", gateway.url, **traits) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            msg_id = await send(browser, "much")
            await eventually(lambda: _true(gateway.cells), within=5, what="the cell")
            (opened,) = gateway.sockets
            parent = json.dumps({"msg_id": msg_id}).encode()
            for _ in range(80):
                content = {"name": "stdout", "text": piece}
                await opened.send_bytes(pack_v1(new_frame("iopub", "stream", content, session="k", parent=parent)))
            await gateway.reply(opened, parent, "")
            await asyncio.sleep(0.5)
            text, reply = await answer_of(browser, msg_id)
            assert reply["status"] == "ok"
            assert text.count("x" * 1024) < 80 * 1024, "something was left out"
            assert text.count("Output was left out here") >= 1


async def test_a_message_larger_than_a_hundred_megabytes_passes(gateway, tmp_path: Path) -> None:
    """Beyond what tornado's client reads by default."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            msg_id = await send(browser, "huge")
            await eventually(lambda: _true(gateway.cells), within=5, what="the cell")
            (opened,) = gateway.sockets
            await gateway.reply(opened, json.dumps({"msg_id": msg_id}).encode(), "x" * 120_000_000)
            assert len(await until_reply(browser, msg_id, within=30)) == 120_000_000


async def test_small_messages_are_not_held_back_for_acknowledgements(gateway, tmp_path: Path) -> None:
    """Three in a row cost 40 ms where nobody switched Nagle's algorithm off."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            times = []
            for _ in range(21):
                began = monotonic()
                await until_reply(browser, await send(browser, "1"))
                times.append(monotonic() - began)
    assert median(times) < 0.03
