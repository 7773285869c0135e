"""Wrong input and missing parts get a clear word, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

CHECKOUT = Path(__file__).parents[2]


async def test_an_unknown_kernelspec_is_refused_by_naming_those_that_exist(user) -> None:
    """The notebook stays, and a known one still starts."""
    ada = await user(0)
    await ada.save_notebook("unknown.ipynb")
    body = {"path": "unknown.ipynb", "name": "unknown.ipynb", "type": "notebook", "kernel": {"name": "python9"}}
    async with ada.http.post(ada.url("api/sessions"), json=body, headers=ada.xsrf) as answer:
        text = await answer.text()
    assert answer.status in (400, 500, 501)
    assert "python9" in text
    assert "python3-1-gpu" in text
    assert await ada.call("GET", "api/contents/unknown.ipynb")
    notebook = await ada.open_notebook("unknown.ipynb", "python3-cpu")
    assert (await notebook.run("print(1)")).text == "1\n"


async def test_a_size_with_a_bad_quantity_is_refused_and_the_others_stay(user, demo) -> None:
    """By the API server, in words that say what a quantity is."""
    manifest = """
apiVersion: kubeflow.tkestack.io/v1alpha1
kind: JupyterKernelTemplate
metadata: {name: bad}
spec: {size: {resources: {nvidia.com/gpu: two}}}
"""
    command = [*demo.info["kubectl"], "-n", demo.info["namespace"], "apply", "-f", "-"]
    applied = await asyncio.to_thread(
        subprocess.run, command, input=manifest, capture_output=True, text=True, timeout=30, check=False
    )
    assert applied.returncode != 0
    assert "must be a quantity" in applied.stderr
    ada = await user(0)
    assert "python3-1-gpu" in await ada.kernelspecs()


async def test_while_the_hub_is_away_a_known_user_works_on_and_a_stranger_is_told_to_wait(user, demo) -> None:
    """Never an open door, never a wrong refusal."""
    ada = await user(0)
    notebook = await ada.open_notebook("hub-away.ipynb", "python3-cpu")
    await notebook.run("n = 1")
    hub = demo.pid_of("hub")
    os.kill(hub, signal.SIGSTOP)
    try:
        assert (await notebook.run("print(n)")).text == "1\n"
        headers = {"Authorization": "token nobody-knows-this"}
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{demo.info['gateway_url']}/api/kernels", headers=headers) as answer,
        ):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        os.kill(hub, signal.SIGCONT)


async def test_without_a_token_every_route_is_closed(demo) -> None:
    """And a token that the Hub does not know opens none."""
    routes = ["api/kernels", "api/kernelspecs", "api/sessions", "api/kernels/0e5a5b1e-3f5c-4f0e-9c6e-1d1f0e0a0b0c"]
    async with aiohttp.ClientSession() as http:
        for route in routes:
            for headers in ({}, {"Authorization": "token rubbish"}):
                async with http.get(f"{demo.info['gateway_url']}/{route}", headers=headers) as answer:
                    assert answer.status == 403, route


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that is expected to fail soon."""
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("value", ["0", "-3", "soon"])
def test_a_demo_with_an_impossible_idle_time_says_what_would_do(tmp_path: Path, value: str) -> None:
    """In one line, before anything is started."""
    ended = run(sys.executable, "-m", "local_cluster.demo", IDLE_TIMEOUT=value, STATE_DIR=str(tmp_path / "s"))
    assert ended.returncode != 0
    assert "IDLE_TIMEOUT" in ended.stderr
    assert "1 to 86400" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_gateway_with_an_impossible_idle_time_says_so(value: str) -> None:
    """It does not start and suspend everybody."""
    gateway = str(CHECKOUT / ".build" / "envs" / "gateway" / "bin" / "jupyter-elasticgateway")
    ended = run(gateway, "--hub-api-url=http://127.0.0.1:1/hub/api", ELASTIC_IDLE_TIMEOUT=value)
    assert ended.returncode != 0
    assert "ELASTIC_IDLE_TIMEOUT" in ended.stderr + ended.stdout


def test_a_taken_port_is_named(tmp_path: Path, demo) -> None:
    """By the demo and by the gateway."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run(sys.executable, "-m", "local_cluster.demo", PORT=port, STATE_DIR=str(tmp_path / "s"))
        assert f"PORT={port} cannot be used" in ended.stderr
        gateway = str(CHECKOUT / ".build" / "envs" / "gateway" / "bin" / "jupyter-elasticgateway")
        ended = run(
            gateway, "--ip=127.0.0.1", f"--port={port}", "--hub-api-url=http://127.0.0.1:1/hub/api",
            KUBECONFIG=demo.info["kubeconfig"],
        )  # fmt: skip
        assert ended.returncode != 0
        assert f"127.0.0.1:{port}" in ended.stderr + ended.stdout


def test_without_the_right_python_make_says_what_to_install() -> None:
    """The command, and how to name another."""
    ended = run("make", "demo", "PYTHON=python3.99")
    assert ended.returncode != 0
    assert "python3.11" in ended.stdout + ended.stderr
    assert "make PYTHON=" in ended.stdout + ended.stderr


def test_a_second_demo_in_the_same_directory_is_refused(demo) -> None:
    """Two would undo each other's state."""
    ended = run(sys.executable, "-m", "local_cluster.demo", STATE_DIR=str(demo.state_dir))
    assert ended.returncode != 0
    assert "Another demo runs" in ended.stderr
    assert (demo.state_dir / "demo.json").exists()
