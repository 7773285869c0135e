"""The user server's part: a connection to the gateway that loses nothing. A jupyter_server extension.

It does nothing in a server that is not pointed at a gateway.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "elastic_frontend"}]


def _link_jupyter_server_extension(serverapp: Any) -> None:
    """Called before the server makes its managers: name ours."""
    from elastic_frontend.extension import link

    link(serverapp)


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Called when the server stands: hooks and the activity watch."""
    from elastic_frontend.extension import load

    load(serverapp)
