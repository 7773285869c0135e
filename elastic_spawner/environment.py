"""What a user server has to find in its environment to leave its kernels to the gateway.

Pure: strings in, strings out. Nothing here asks whether the gateway answers; a user server starts without it.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class GatewayUrlError(ValueError):
    """A gateway URL that no user server could use; the message says what is wrong with it."""


def clean_url(url: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """``url`` without a trailing slash, checked; the empty string stays empty and means no gateway.

    Raises GatewayUrlError where the scheme or the host is missing.
    """
    url = url.strip().rstrip("/")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise GatewayUrlError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in schemes:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise GatewayUrlError(f"{url!r} must start with {wanted}")
    if not host or port == 0:
        raise GatewayUrlError(f"{url!r} names no host; give for example {schemes[0]}://gateway:8888")
    return url


def websocket_url(gateway_url: str) -> str:
    """The WebSocket URL of a gateway.

    Only the scheme changes. A jupyter_server that has to derive it lower-cases the whole URL and replaces every
    ``http`` in it, host and path included, so it is always given explicitly.
    """
    if not gateway_url:
        return ""
    parts = urlsplit(gateway_url)
    return urlunsplit(parts._replace(scheme=WEBSOCKET_SCHEMES[parts.scheme]))


def gateway_environment(gateway_url: str, ws_url: str, token: str) -> dict[str, str]:
    """The variables that put a jupyter_server in gateway mode; none without a gateway.

    ``token`` is the user server's own Hub token: the gateway asks the Hub whose it is, so that nothing else in a
    request has to be believed.
    """
    if not gateway_url:
        return {}
    return {
        "JUPYTER_GATEWAY_URL": gateway_url,
        "JUPYTER_GATEWAY_WS_URL": ws_url or websocket_url(gateway_url),
        "JUPYTER_GATEWAY_AUTH_TOKEN": token,
        "JUPYTER_GATEWAY_AUTH_SCHEME": "token",
    }
