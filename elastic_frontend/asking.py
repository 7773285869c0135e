"""Asking the gateway something and being sure of what its answer means.

jupyter_server turns a host name that does not resolve into 404, waits up to two minutes for a gateway that hangs,
and takes the 404 of a proxy in between for the gateway's. Here 404 is only what the gateway itself says.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_server.gateway.gateway_client import gateway_request
from tornado import web
from tornado.httpclient import HTTPClientError


class NotThereError(Exception):
    """The gateway says that it has no such thing for this user server."""


class UnsureError(Exception):
    """The gateway could not be asked, or what answered is no gateway. The text says why, in a user's words."""


NO_ANSWER = "the gateway does not answer"
NOT_KNOWN = "the gateway does not know this server"
NO_GATEWAY = "what answers at the gateway's address is no gateway"


async def ask(url: str, *, limit: float) -> Any:
    """What the gateway answers to a GET, parsed, within ``limit`` seconds."""
    try:
        async with asyncio.timeout(limit):
            response = await gateway_request(url, method="GET")
        return json.loads(response.body)
    except web.HTTPError as error:
        if said_not_there(error):
            raise NotThereError(url) from error
        raise UnsureError(reason_of(error)) from error
    except ValueError as error:
        raise UnsureError(NO_GATEWAY) from error
    except OSError as error:
        raise UnsureError(NO_ANSWER) from error


def said_not_there(error: web.HTTPError) -> bool:
    """Whether this is the gateway's own 404: those of proxies are no JSON, that of a lost host name has no response."""
    message = body_of(error)
    return error.status_code == 404 and message is not None


def reason_of(error: web.HTTPError) -> str:
    """Why the gateway did not do what it was asked, in a user's words."""
    if error.status_code in (401, 403):
        return NOT_KNOWN
    said = (body_of(error) or {}).get("message")
    return f"{NO_ANSWER} ({said.rstrip('.')})" if isinstance(said, str) and said else NO_ANSWER


def body_of(error: web.HTTPError) -> dict[str, Any] | None:
    """The JSON object that came with an HTTP error, if one did."""
    cause = error.__cause__
    if not isinstance(cause, HTTPClientError) or cause.response is None:
        return None
    try:
        body = json.loads(cause.response.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
