"""The demo's live table: which kernels exist, in which phase, who holds which GPU."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from local_cluster.demo.objects import gpus


def _since(text: str | None, now: datetime) -> str:
    if not text:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(text)).total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def kernel_table(kernels: list[dict[str, Any]], pods: list[dict[str, Any]], total_gpus: int, now: datetime) -> Table:
    """One row a kernel; the title counts GPUs in use."""
    holding = {pod["metadata"]["labels"]["kubeflow.tkestack.io/kernel"]: gpus(pod) for pod in pods if _bound(pod)}
    table = Table(title=f"GPUs in use: {sum(holding.values())} of {total_gpus}", title_justify="left")
    for column in ("user", "kernel", "size", "phase", "reason", "GPU", "idle"):
        table.add_column(column)
    for kernel in kernels:
        spec, status = kernel["spec"], kernel.get("status", {})
        name = kernel["metadata"]["name"]
        table.add_row(
            spec["owner"]["user"],
            name[:8],
            spec.get("size", ""),
            status.get("phase", "Suspended"),
            status.get("reason", ""),
            str(holding.get(name, 0) or ""),
            _since(status.get("idleSince"), now),
        )
    return table


def _bound(pod: dict[str, Any]) -> bool:
    return bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") in ("Pending", "Running")


def utc_now() -> datetime:
    """The current time, aware."""
    return datetime.now(UTC)
