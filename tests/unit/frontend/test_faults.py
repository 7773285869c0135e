"""A real user server whose gateway, Hub or home misbehaves: it starts, says why, and loses nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web

from tests.support.user_server import KERNEL, SESSION, GatewayThatNeverAnswers, user_server
from tests.support.waiting import eventually

MARK = {"elastic-jupyter": {"waiting": True}}
WAITING = {"output_type": "display_data", "data": {"text/plain": "Waiting for a GPU"}, "metadata": MARK}
STREAM = {"output_type": "stream", "name": "stdout", "text": "x"}


async def names(call) -> list[str]:
    """What the launcher shows."""
    specs = (await call("GET", "api/kernelspecs"))["kernelspecs"]
    return [spec["spec"]["display_name"] for spec in specs.values()]


async def test_beside_a_gateway_that_never_answers_the_server_starts_explains_and_ends(tmp_path: Path) -> None:
    """Each within seconds, not the minutes that stock requests take."""
    gateway = GatewayThatNeverAnswers()
    await gateway.come()
    traits = {"ElasticKernelSpecManager__ask_limit": 1, "ElasticMappingKernelManager__ask_limit": 1}
    try:
        async with user_server(tmp_path / "home", gateway.url, **traits) as call:
            began = monotonic()
            assert await names(call) == ["No kernels now: the gateway does not answer"]
            assert await call("GET", "api/kernels") == []
            assert await call("GET", "api/sessions") == []
            assert (await call.ask("GET", f"api/kernels/{KERNEL}"))[0] == 503
            assert monotonic() - began < 5
            call.process.terminate()
            async with asyncio.timeout(5):
                await call.process.wait()
    finally:
        await gateway.go()


async def test_the_servers_end_takes_two_seconds_at_most_when_the_gateway_hangs(gateway, tmp_path: Path) -> None:
    """The Hub gives it little time before it is killed."""

    async def hangs(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response(status=204)

    await gateway.go()
    gateway.noted = hangs
    await gateway.come()
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        began = monotonic()
        call.process.terminate()
        async with asyncio.timeout(6):
            await call.process.wait()
        assert monotonic() - began < 4


async def test_the_launcher_repeats_what_the_gateway_says(gateway, tmp_path: Path) -> None:
    """A Hub that is down is not a gateway that is down; a wrong address is neither."""
    answer = web.json_response, {"data": {"message": "The Hub cannot be asked who is calling."}, "status": 503}

    async def says(request: web.Request) -> web.StreamResponse:
        return answer[0](**answer[1])

    await gateway.go()
    gateway.specs = says
    await gateway.come()
    async with user_server(tmp_path / "home", gateway.url) as call:
        assert await names(call) == [
            "No kernels now: the gateway does not answer (The Hub cannot be asked who is calling)"
        ]
        answer = web.json_response, {"data": {"message": "no"}, "status": 403}
        assert await names(call) == ["No kernels now: the gateway does not know this server"]
        answer = web.json_response, {"data": ["something", "else"]}
        assert await names(call) == ["No kernels now: what answers at the gateway's address is no gateway"]
        answer = web.Response, {"text": "<html>It works!</html>"}
        assert await names(call) == ["No kernels now: what answers at the gateway's address is no gateway"]
        answer = web.json_response, {"data": {"default": "", "kernelspecs": {}}}
        assert await names(call) == ["No kernels now: the gateway offers none"]


async def test_the_explanation_cannot_be_started_and_an_unknown_kernel_not_be_joined(gateway, tmp_path: Path) -> None:
    """Both with words, and without a trace in the sessions."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        body = SESSION | {"kernel": {"name": "elastic-unavailable"}}
        status, answer = await call.ask("POST", "api/sessions", body)
        assert status >= 500 and "There are no kernels now" in answer["message"]
        status, answer = await call.ask("POST", "api/sessions", SESSION | {"kernel": {"id": KERNEL}})
        assert status >= 400 and "does not exist" in answer["message"]
        assert await call("GET", "api/sessions") == []
        gateway.add(KERNEL)
        session = await call("POST", "api/sessions", SESSION | {"kernel": {"id": KERNEL}}, status=201)
        assert session["kernel"]["id"] == KERNEL
        assert not any(made.startswith("POST /api/kernels ") for made in gateway.calls)


@pytest.mark.parametrize("away", ["down", "without a name"])
async def test_a_server_restarted_while_the_gateway_is_away_finds_its_notebooks_later(
    gateway, tmp_path: Path, away: str
) -> None:
    """Unknown is 503 until the gateway answers, never 404; no session is forgotten."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
    await gateway.go()
    url = gateway.url if away == "down" else "http://no-such-gateway.invalid:8888"
    async with user_server(tmp_path / "home", url) as call:
        assert (await call.ask("GET", "api/sessions"))[0] == 503
        assert (await call.ask("GET", f"api/kernels/{KERNEL}"))[0] == 503
        assert (await call.ask("POST", "api/sessions", SESSION))[0] == 503
        assert await call("GET", "api/kernels") == []
        if away == "down":
            await gateway.come()
            assert [s["kernel"]["id"] for s in await call("GET", "api/sessions")] == [KERNEL]
            return
    await gateway.come()
    async with user_server(tmp_path / "home", gateway.url) as call:
        assert [s["kernel"]["id"] for s in await call("GET", "api/sessions")] == [KERNEL]


async def test_a_kernel_found_at_the_start_is_listed_and_answers_before_any_page_asks(gateway, tmp_path: Path) -> None:
    """A tab that stayed open over the restart connects without a click."""
    gateway.add(KERNEL)
    async with user_server(tmp_path / "home", gateway.url) as call:
        await eventually(lambda: _found(call), within=5, what="the kernel found")
        async with call.connect() as browser:
            assert not browser.closed
        assert [k["id"] for k in await call("GET", "api/kernels")] == [KERNEL]


async def _found(call) -> bool:
    return f"Kernel {KERNEL} found at the gateway" in call.log


async def test_named_servers_of_one_home_do_not_touch_each_others_sessions(
    gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file for each, also if a server is called like the file of another."""
    from elastic_frontend.sessions_file import sessions_file

    files = set()
    for name in ("", "default", "a/b", "a_b"):
        monkeypatch.setenv("JUPYTERHUB_SERVER_NAME", name)
        files.add(sessions_file())
    assert len(files) == 4
    assert len({file.parent for file in files}) == 1


async def test_a_home_with_a_broken_or_unusable_sessions_file_costs_no_start(gateway, tmp_path: Path) -> None:
    """The broken one is put aside; where none can be written they are kept in memory."""
    home = tmp_path / "home"
    file = home / ".local/share/jupyter/elastic-jupyter/sessions.db"
    file.parent.mkdir(parents=True)
    file.write_text("this is no database, but long enough to be taken for one" * 20)
    async with user_server(home, gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
    assert file.read_bytes().startswith(b"SQLite format 3")
    assert file.with_suffix(".broken").exists()
    file.unlink()
    file.mkdir()
    async with user_server(home, gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        assert len(await call("GET", "api/sessions")) == 1
        assert "Sessions are kept in memory" in call.log


async def test_an_administrators_own_choices_are_left_as_they_are(gateway, tmp_path: Path) -> None:
    """Where sessions are kept, and which class connects."""
    traits = {
        "SessionManager__database_filepath": tmp_path / "elsewhere.db",
        "ServerApp__kernel_websocket_connection_class": "jupyter_server.gateway.connections.GatewayWebSocketConnection",
    }
    async with user_server(tmp_path / "home", gateway.url, **traits) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect(protocols=()):
            await eventually(lambda: _connected(call), within=5, what="the stock connection's line in the log")
    assert (tmp_path / "elsewhere.db").exists()
    assert not list((tmp_path / "home").rglob("sessions*.db"))


async def _connected(call) -> bool:
    return "Connecting to ws://" in call.log


async def test_the_waiting_line_is_not_saved_and_an_administrators_hook_still_runs(gateway, tmp_path: Path) -> None:
    """Hooks are chained."""
    home = tmp_path / "home"
    config = home / ".jupyter/jupyter_server_config.py"
    config.parent.mkdir(parents=True)
    config.write_text(
        "def hook(model, **kwargs):\n    model['content']['metadata']['hooked'] = True\n"
        "c.FileContentsManager.pre_save_hook = hook\nc.ContentsManager.pre_save_hook = hook\n"
    )
    cell = {
        "cell_type": "code", "id": "c", "metadata": {}, "source": "1", "execution_count": None,
        "outputs": [WAITING, STREAM],
    }  # fmt: skip
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    async with user_server(home, gateway.url) as call:
        body = {"type": "notebook", "format": "json", "content": content}
        await call("PUT", "api/contents/n.ipynb", body, status=201)
        saved = json.loads((home / "n.ipynb").read_text())
        assert saved["cells"][0]["outputs"] == [STREAM | {"text": ["x"]}]
        assert saved["metadata"]["hooked"] is True


@pytest.mark.parametrize(("state", "counts"), [("busy", True), ("idle", False)])
async def test_only_a_busy_kernel_counts_as_the_servers_activity(
    gateway, tmp_path: Path, state: str, counts: bool
) -> None:
    """Nobody looks at it; the Hub hears the server's last activity and culls by it."""
    gateway.add(KERNEL, state)
    traits = {"ElasticMappingKernelManager__busy_check_interval": 0.2}
    async with user_server(tmp_path / "home", gateway.url, **traits) as call:
        await eventually(lambda: _found(call), within=5, what="the kernel found")
        before = (await call("GET", "api/status"))["last_activity"]
        await asyncio.sleep(1)
        after = (await call("GET", "api/status"))["last_activity"]
        assert (after > before) is counts


async def test_a_busy_kernel_counts_also_if_the_gateway_was_away_when_the_server_started(
    gateway, tmp_path: Path
) -> None:
    """The watch goes on looking until it was told which kernels there are, and outlives strange answers."""
    gateway.add(KERNEL, "busy")
    usual = gateway.listed

    async def strange(request: web.Request) -> web.StreamResponse:
        return web.json_response([{"id": KERNEL}])

    await gateway.go()
    traits = {"ElasticMappingKernelManager__busy_check_interval": 0.2}
    async with user_server(tmp_path / "home", gateway.url, **traits) as call:
        gateway.listed = strange
        await gateway.come()
        await asyncio.sleep(0.6)
        await gateway.go()
        gateway.listed = usual
        await gateway.come()
        before = (await call("GET", "api/status"))["last_activity"]
        await asyncio.sleep(1.5)
        assert (await call("GET", "api/status"))["last_activity"] > before
