"""Pods, Deployments and Services for tests of the node, and looks at what became of them."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

from kernel_core.cluster.client import EVENTS, PODS, Resource
from local_cluster.cluster import LocalCluster
from tests.support.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
NAMESPACE = "work"
IMAGE = "test/python:1"
CONFIG = Resource("", "v1", "configmaps")
SERVICES = Resource("", "v1", "services")
NODES = Resource("", "v1", "nodes")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
FAST = {"periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 1}
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists('/tmp/broken') and self.path == '/ready' else 200)
        self.end_headers()
        self.wfile.write(os.environ['HOSTNAME'].encode())
http.server.ThreadingHTTPServer(('0.0.0.0', 8080), Handler).serve_forever()
"""
IMAGES = {"test/python*": str(CHECKOUT / ".build" / "envs" / "user")}


def container(code: str, **more: Any) -> dict[str, Any]:
    """A container that runs some Python."""
    return {"name": "main", "image": IMAGE, "command": ["python", "-uc", code], **more}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod that ends at once when it is deleted."""
    rest = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **spec}
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": list(containers), **rest}}


def deployment(name: str, replicas: int, main: dict[str, Any]) -> dict[str, Any]:
    """A Deployment of one container."""
    template = pod(name, main, restartPolicy="Always")
    template["metadata"].pop("name")
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def service(name: str, port: int, target: int | str, **spec: Any) -> dict[str, Any]:
    """A Service for the pods of this name."""
    ports = [{"name": "http", "port": port, "targetPort": target}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports, **spec}}


async def get(cluster: LocalCluster, name: str) -> dict[str, Any]:
    """A pod."""
    return await cluster.client.get(PODS, NAMESPACE, name)


async def state(cluster: LocalCluster, name: str) -> dict[str, Any]:
    """The status of a pod's first container."""
    return ((await get(cluster, name)).get("status", {}).get("containerStatuses") or [{}])[0]


async def until_phase(cluster: LocalCluster, name: str, phase: str, within: float = 15) -> dict[str, Any]:
    """Wait for a pod's phase."""

    async def look() -> bool:
        return (await get(cluster, name)).get("status", {}).get("phase") == phase

    await eventually(look, within=within, what=f"{name} {phase}")
    return await get(cluster, name)


def log_of(cluster: LocalCluster, item: dict[str, Any], name: str = "main") -> str:
    """What a pod's container has printed."""
    return (cluster.kubeconfig.parent / "pods" / item["metadata"]["uid"] / "logs" / f"{name}.log").read_text()


async def reasons(cluster: LocalCluster, name: str) -> set[str]:
    """The reasons of the events on a pod."""
    events = await cluster.client.list(EVENTS, NAMESPACE, {"fieldSelector": f"involvedObject.name={name}"})
    return {item["reason"] for item in events["items"]}


async def answer(url: str) -> str:
    """What a URL answers, or "" if nobody takes the connection."""
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http, http.get(url) as got:
            return await got.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""


async def kubectl(cluster: LocalCluster, *words: str) -> str:
    """What kubectl prints."""
    child = await asyncio.create_subprocess_exec(
        *cluster.kubectl, "-n", NAMESPACE, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(15):
        return (await child.communicate())[0].decode()


async def printed(cluster: LocalCluster, item: dict[str, Any], number: int) -> list[str]:
    """The lines that a pod has printed, once they are so many."""
    said = log_of(cluster, item).splitlines()
    return said if len(said) == number else []
