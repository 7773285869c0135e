"""Users with a password each, given by whoever starts the hub. For demos: no password can be changed."""

from __future__ import annotations

import hmac
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Dict, Unicode


class PasswordsAuthenticator(Authenticator):
    """Lets in whoever knows the password of one of its users."""

    passwords = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        config=True,
        help="""
        User name to password. A user with an empty password cannot log in.
        """,
    )

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Called by the Hub with a filled-in login form; the user's name, or None."""
        name = self.normalize_username(data.get("username", ""))
        known = self.passwords.get(name, "")
        same = hmac.compare_digest(known.encode(), data.get("password", "").encode())
        return name if same and known else None
