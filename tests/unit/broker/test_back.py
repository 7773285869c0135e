"""Nothing of a user's goes to whoever happens to hold a pod's address."""

from __future__ import annotations

import asyncio
import json

import pytest
import zmq
import zmq.asyncio

from kernel_core.manifests import ConnectionInfo
from process_proxies.broker.back import Back
from process_proxies.broker.framing import Message, Signer, make

KEY = "right-key"
CELL = make("execute_request", {"code": "secret = 42"}, session="tab", channel="shell")


class PeerThatAnswers:
    """A kernel's five ports, answering kernel_info with a key of its choice; it notes all that it is given."""

    def __init__(self, context: zmq.asyncio.Context, key: str, ports: list[int] | None = None) -> None:
        self.signer = Signer(key)
        self.given: list[bytes] = []
        self.answers = True
        self.sockets = {
            name: context.socket(zmq.PUB if name == "iopub" else zmq.ROUTER)
            for name in ("shell", "iopub", "stdin", "control")
        }
        self.ports: list[int] = []
        for index, socket in enumerate(self.sockets.values()):
            socket.linger = 0
            if ports is None:
                self.ports.append(socket.bind_to_random_port("tcp://127.0.0.1"))
            else:
                socket.bind(f"tcp://127.0.0.1:{ports[index]}")
                self.ports.append(ports[index])
        self.tasks = [asyncio.create_task(self.serve(name)) for name in ("shell", "control")]

    @property
    def info(self) -> ConnectionInfo:
        """Where it listens, and the key that its incarnation was given."""
        shell, iopub, stdin, control = self.ports
        return ConnectionInfo(KEY, shell, iopub, stdin, control, 1, ip="127.0.0.1")

    async def serve(self, channel: str) -> None:
        while True:
            identity, *frames = await self.sockets[channel].recv_multipart()
            self.given.extend(frames)
            cut = frames.index(b"<IDS|MSG>")
            header = frames[cut + 2]
            if not self.answers or json.loads(header)["msg_type"] != "kernel_info_request":
                continue
            status = make("status", {"execution_state": "idle"}, session="kernel", parent=header)
            await self.sockets["iopub"].send_multipart(self.signer.frames(status, b"status"))
            reply = make("kernel_info_reply", {"status": "ok"}, session="kernel", parent=header, channel=channel)
            await self.sockets[channel].send_multipart([identity, *self.signer.frames(reply, frames[0])])

    def was_given_the_cell(self) -> bool:
        """Whether a user's code reached it."""
        return any(b"secret = 42" in frame for frame in self.given)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for socket in self.sockets.values():
            socket.close(0)


class ListenerThatNotes:
    """A broker that only notes what its back side says."""

    def __init__(self) -> None:
        self.proofs = 0
        self.breaks = 0
        self.changed = asyncio.Event()

    def proven(self, kernel_info: bytes | None) -> None:
        self.proofs += 1
        self.changed.set()

    def shell_answered(self) -> None:
        self.changed.set()

    def broken(self) -> None:
        self.breaks += 1
        self.changed.set()

    def from_kernel(self, prefix: bytes, message: Message) -> None:
        self.changed.set()

    async def until(self, condition, within: float = 5) -> None:
        async with asyncio.timeout(within):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def context():
    """A ZMQ context for peers and back sides."""
    made = zmq.asyncio.Context()
    yield made
    made.destroy(linger=0)


async def test_a_kernel_that_proves_itself_is_given_cells(context) -> None:
    """By a reply signed with its incarnation's key."""
    peer, listener = PeerThatAnswers(context, KEY), ListenerThatNotes()
    back = Back(context, "127.0.0.1", peer.info, "k-1", listener, adopted=False)
    assert not back.send(CELL, "tab"), "nothing before the proof"
    back.start()
    await listener.until(lambda: listener.proofs == 1)
    assert back.send(CELL, "tab")
    async with asyncio.timeout(5):
        while not peer.was_given_the_cell():
            await asyncio.sleep(0.01)
    back.close()
    await peer.close()


@pytest.mark.parametrize("answers", [True, False])
async def test_a_stranger_at_the_address_is_given_nothing(context, answers: bool) -> None:
    """Neither one that answers with a key of its own nor one that only listens."""
    peer, listener = PeerThatAnswers(context, "key-of-another-pod"), ListenerThatNotes()
    peer.answers = answers
    back = Back(context, "127.0.0.1", peer.info, "k-1", listener, adopted=False)
    back.start()
    async with asyncio.timeout(5):
        while not peer.given:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert not back.send(CELL, "tab")
    assert listener.proofs == 0
    assert not peer.was_given_the_cell()
    back.close()
    await peer.close()


async def test_a_stranger_that_takes_a_dead_pods_address_is_given_nothing_of_its_predecessors(context) -> None:
    """The kernel was proven and in use; then it died and another pod got its address and ports."""
    kernel, listener = PeerThatAnswers(context, KEY), ListenerThatNotes()
    ports = kernel.ports
    back = Back(context, "127.0.0.1", kernel.info, "k-1", listener, adopted=False)
    back.start()
    await listener.until(lambda: listener.proofs == 1)
    await kernel.close()
    await listener.until(lambda: listener.breaks == 1)
    assert not back.send(CELL, "tab"), "nothing is queued for an absent peer"
    stranger = PeerThatAnswers(context, "key-of-another-pod", ports)
    async with asyncio.timeout(5):
        while not stranger.given:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert not back.send(CELL, "tab")
    assert not stranger.was_given_the_cell()
    back.close()
    await stranger.close()


async def test_the_same_kernel_is_used_again_after_a_broken_connection_once_it_has_proved_itself(context) -> None:
    """A network that fails for a moment ends nothing."""
    kernel, listener = PeerThatAnswers(context, KEY), ListenerThatNotes()
    ports = kernel.ports
    back = Back(context, "127.0.0.1", kernel.info, "k-1", listener, adopted=False)
    back.start()
    await listener.until(lambda: listener.proofs == 1)
    await kernel.close()
    await listener.until(lambda: listener.breaks == 1)
    again = PeerThatAnswers(context, KEY, ports)
    await listener.until(lambda: listener.proofs == 2)
    assert back.send(CELL, "tab")
    back.close()
    await again.close()
