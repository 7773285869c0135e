"""Commands inside a running container, as exec probes need them; bubblewrap is real here."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from local_cluster.node.container import ContainerProcess
from local_cluster.node.images import Image
from local_cluster.node.sandbox import Sandbox


def plain(directory: Path) -> ContainerProcess:
    """A container that sees nothing of the node's own Python."""
    files = [directory / name for name in ("passwd", "group", "hosts", "shim")]
    for file in files:
        file.write_text("root:x:0:0:root:/root:/bin/sh\n")
    passwd, group, hosts, shim = files
    box = Sandbox(
        Image(Path("/usr"), (), ()),
        [],
        {"OWN": "7"},
        ["sleep", "30"],
        "/home/jovyan",
        1000,
        100,
        "box",
        passwd,
        group,
        hosts,
        shim,
        -1,
    )
    return ContainerProcess(box, "127.64.1.2", directory / "log")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit $OWN"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("no-such-command",), 127),
        (("sh", "-c", 'test "$(id -u) $(pwd) $(hostname)" = "1000 /home/jovyan box"'), 0),
        (("sh", "-c", "sleep 20 & sleep 20"), 124),
    ],
)
async def test_a_command_runs_as_the_containers_user_in_its_directory(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    """Its exit code is told, and it has only so much time."""
    process = plain(tmp_path)
    await process.start()
    began = monotonic()
    try:
        assert (await process.run(command, 1.5))[0] == code
        assert monotonic() - began < 4
    finally:
        await process.stop(0)
        await process.wait()


async def test_nothing_can_be_run_in_a_container_that_has_ended(tmp_path: Path) -> None:
    """It is said, not raised."""
    process = plain(tmp_path)
    await process.start()
    await process.stop(0)
    await process.wait()
    assert await process.run(("true",), 1) == (126, "the container does not run")
