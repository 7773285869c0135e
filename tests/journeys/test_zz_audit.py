"""What the API server's audit log says of us after all other journeys: nothing denied, nothing written in vain.

The last file by name, so that it sees what all others did.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from hub_config.rbac import hub_rules
from local_cluster.demo.manifests import GATEWAY_RULES


def events(demo, account: str) -> Iterator[dict[str, Any]]:
    """Every request of one of our ServiceAccounts."""
    user = f"system:serviceaccount:{demo.info['namespace']}:{account}"
    with (demo.state_dir / "cluster" / "logs" / "audit.log").open() as log:
        for line in log:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line is being written
            if event["user"]["username"] == user:
                yield event


async def test_a_quiet_gateway_writes_nothing(user, demo) -> None:
    """Parked notebooks with their pages open cost the API server no write."""
    ada = await user(0)
    for number in range(3):
        notebook = await ada.open_notebook(f"quiet{number}.ipynb", "python3-cpu")
        await notebook.ask("kernel_info_request", {})
    await asyncio.sleep(9)  # kernels of earlier journeys have been suspended by now

    def writes() -> int:
        return sum(event["verb"] not in ("get", "list", "watch") for event in events(demo, "elastic-gateway"))

    before = writes()
    await asyncio.sleep(6)
    assert writes() == before


def test_no_request_of_ours_was_denied_by_a_role(demo) -> None:
    """A refusal by a quota is not a denial."""
    for account in ("elastic-gateway", "hub"):
        denied = [
            (event["verb"], event["objectRef"].get("resource"), event["responseStatus"].get("message", ""))
            for event in events(demo, account)
            if event["responseStatus"]["code"] == 403 and "quota" not in event["responseStatus"].get("message", "")
        ]
        assert denied == [], account


def test_every_verb_that_the_gateway_may_use_was_used(demo) -> None:
    """The Role holds the fewest verbs."""
    used = {
        (
            e["objectRef"].get("resource", "") + (f"/{sub}" if (sub := e["objectRef"].get("subresource")) else ""),
            e["verb"],
        )
        for e in events(demo, "elastic-gateway")
        if "objectRef" in e
    }
    granted = {(resource, verb) for rule in GATEWAY_RULES for resource in rule["resources"] for verb in rule["verbs"]}
    assert used <= granted
    rare = {("jupyterkernels", "get"), ("pods", "get")}  # asked only when a write met another, or a pod was missing
    assert granted - used <= rare
    assert hub_rules()
