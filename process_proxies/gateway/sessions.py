"""``/api/sessions``: a notebook's path and its kernel, for clients that use the gateway without a user server.

Kept in memory, as Enterprise Gateway does; user servers keep their own.
"""

from __future__ import annotations

import uuid
from typing import Any

from tornado import web

from kernel_core.kernel import Owner
from process_proxies.gateway.handlers import ElasticHandler, KernelStarter
from process_proxies.gateway.managers import kernel_model


class Sessions:
    """Sessions by id, each with its owner."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Owner, dict[str, Any]]] = {}

    def add(self, owner: Owner, path: str, name: str, kind: str, kernel_id: str) -> dict[str, Any]:
        """A new session."""
        row = {"id": uuid.uuid4().hex, "path": path, "name": name, "type": kind, "kernel_id": kernel_id}
        self._rows[row["id"]] = (owner, row)
        return row

    def of(self, owner: Owner) -> list[dict[str, Any]]:
        """An owner's sessions."""
        return [row for whose, row in self._rows.values() if whose == owner]

    def get(self, owner: Owner, session_id: str) -> dict[str, Any]:
        """One session of an owner's. Raises 404 for another's and for none alike."""
        whose, row = self._rows.get(session_id, (None, {}))
        if whose != owner:
            raise web.HTTPError(404, f"Session does not exist: {session_id}")
        return row

    def remove(self, session_id: str) -> None:
        """Forget one."""
        self._rows.pop(session_id, None)

    def kernel_gone(self, kernel_id: str) -> None:
        """A kernel was ended; its sessions go with it."""
        for session_id in [i for i, (_, row) in self._rows.items() if row["kernel_id"] == kernel_id]:
            del self._rows[session_id]


class SessionsHandler(ElasticHandler):
    """Base of both routes."""

    @property
    def sessions(self) -> Sessions:
        """All sessions."""
        sessions: Sessions = self.settings["elastic_sessions"]
        return sessions

    def shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """A session with its kernel's model."""
        kernel = kernel_model(self.owned(row["kernel_id"]))
        return {key: row[key] for key in ("id", "path", "name", "type")} | {"kernel": kernel, "notebook": {}}


class SessionRootHandler(SessionsHandler):
    """``/api/sessions``"""

    def get(self) -> None:
        """The caller's sessions."""
        self.answer([self.shown(row) for row in self.sessions.of(self.owner)])

    async def post(self) -> None:
        """A session with a new kernel, or with one of the caller's."""
        body = self.body()
        kernel = body.get("kernel") if isinstance(body.get("kernel"), dict) else {}
        assert isinstance(kernel, dict)
        wanted = kernel.get("id")
        if wanted:
            self.owned(str(wanted))
        else:
            wanted = await KernelStarter(self.settings).start(self.owner, kernel.get("name"), body.get("env"))
        row = self.sessions.add(
            self.owner, str(body.get("path", "")), str(body.get("name", "")), str(body.get("type", "")), str(wanted)
        )
        self.answer(self.shown(row), 201)


class SessionHandler(SessionsHandler):
    """``/api/sessions/<id>``"""

    def get(self, session_id: str) -> None:
        """One session of the caller's."""
        self.answer(self.shown(self.sessions.get(self.owner, session_id)))

    def patch(self, session_id: str) -> None:
        """Rename or move it."""
        row = self.sessions.get(self.owner, session_id)
        body = self.body()
        row.update({key: str(body[key]) for key in ("path", "name", "type") if key in body})
        self.answer(self.shown(row))

    async def delete(self, session_id: str) -> None:
        """End it and its kernel."""
        row = self.sessions.get(self.owner, session_id)
        self.owned(row["kernel_id"])
        self.sessions.remove(session_id)
        await self.kernels.shutdown_kernel(row["kernel_id"])
        self.set_status(204)
        self.finish()
