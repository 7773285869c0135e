"""Who a token stands for, and what happens while nobody can say."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web

from kernel_core.kernel import Owner
from process_proxies.gateway.identity import (
    HubIdentities,
    HubUnavailableError,
    UnknownCallerError,
    identity_of,
    token_of,
)


def user(name: str, *scopes: str, **more: object) -> dict:
    """The Hub's answer for a user's token."""
    return {"kind": "user", "name": name, "scopes": list(scopes), "groups": ["team"], **more}


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        (user("ada", "access:servers!server=ada/", "users:activity!user=ada"), Owner("ada", "")),
        (user("ada", "access:servers!server=ada/second"), Owner("ada", "second")),
        (user("ada", "access:servers!user=ada", "read:users!user=ada"), Owner("ada", "")),
        (user("root", "access:servers", "admin:users", admin=True), Owner("root", "")),
    ],
)
def test_the_hubs_scopes_name_the_owner(model: dict, owner: Owner) -> None:
    """A server's token acts for that server, a user's own for the default one."""
    assert identity_of(model).owner == owner


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "service", "name": "culler", "scopes": ["access:servers"]},
        user("ada"),
        user("ada", "access:servers!server=bob/"),
        user("ada", "access:servers!server=ada/a", "access:servers!server=ada/b"),
        user("", "access:servers!user="),
        {},
    ],
)
def test_a_token_that_names_no_single_server_of_its_user_has_no_kernels(model: dict) -> None:
    """Services, strangers and tokens for several servers."""
    with pytest.raises(UnknownCallerError):
        identity_of(model)


@pytest.mark.parametrize("header", ["token abc", "Token abc", "Bearer abc", "bearer  abc "])
def test_the_token_comes_in_the_authorization_header(header: str) -> None:
    """In either of the two forms that Jupyter uses."""
    assert token_of({"Authorization": header}) == "abc"


@pytest.mark.parametrize("header", ["", "abc", "Basic abc", "token", "token a b"])
def test_anything_else_is_no_token(header: str) -> None:
    """And then nobody is calling."""
    assert token_of({"Authorization": header}) == ""


class CountingHub:
    """A stand-in for the Hub's /user that counts, and can be told to be away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["Authorization"])
        await asyncio.sleep(0.02)
        if self.status != 200:
            return web.Response(status=self.status)
        if not request.headers["Authorization"].endswith("good"):
            return web.json_response({}, status=403)
        return web.json_response(user("ada", "access:servers!server=ada/"))


@pytest.fixture
async def hub():
    """A running stand-in and its URL."""
    stand_in = CountingHub()
    app = web.Application()
    app.router.add_get("/hub/api/user", stand_in.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    yield stand_in, f"http://127.0.0.1:{port}/hub/api"
    await runner.cleanup()


@pytest.fixture
async def identities(hub):
    """Identities that forget after a moment."""
    made = HubIdentities(hub[1], timedelta(seconds=0.3), timedelta(seconds=2))
    await made.start()
    yield made
    await made.stop()


async def test_many_requests_at_once_ask_the_hub_once(hub, identities) -> None:
    """And later ones are answered from memory."""
    answers = await asyncio.gather(*(identities.identify("good") for _ in range(20)))
    assert {a.owner for a in answers} == {Owner("ada", "")}
    await identities.identify("good")
    assert len(hub[0].asked) == 1


async def test_a_token_the_hub_does_not_know_is_refused_and_not_asked_for_at_once_again(hub, identities) -> None:
    """A negative answer is believed for a short time."""
    for _ in range(3):
        with pytest.raises(UnknownCallerError):
            await identities.identify("bad")
    assert len(hub[0].asked) == 1


async def test_without_a_hub_a_known_caller_goes_on_and_a_stranger_is_told_to_wait(hub, identities) -> None:
    """Never an open door, never a wrong refusal; and the known one is not known for ever."""
    await identities.identify("good")
    hub[0].status = 503
    await asyncio.sleep(0.4)
    assert (await identities.identify("good")).owner.user == "ada"
    with pytest.raises(HubUnavailableError):
        await identities.identify("other-good")
    await asyncio.sleep(2)
    with pytest.raises(HubUnavailableError):
        await identities.identify("good")


async def test_no_token_is_kept_in_memory(hub, identities) -> None:
    """Only its digest."""
    await identities.identify("very-secret-and-good")
    assert "very-secret" not in repr(identities._entries)
