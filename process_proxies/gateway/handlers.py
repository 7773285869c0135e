"""The gateway's REST routes: each knows who asks before it does anything, and whose a kernel is before it names it."""

from __future__ import annotations

import inspect
import json
import uuid
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from enterprise_gateway.mixins import CORSMixin, JSONErrorsMixin
from jupyter_server.base.handlers import APIHandler
from tornado import web

from kernel_core.cluster.client import AlreadyExistsError, ForbiddenError, InvalidError, UnavailableError
from kernel_core.cluster.controller import KernelController
from kernel_core.cluster.store import NewKernel
from kernel_core.kernel import Owner, Reason
from kernel_core.manifests import Home
from kernel_core.names import notebook_name
from kernel_core.sizes import Choice
from process_proxies.broker.broker import Broker, InterruptRefusedError
from process_proxies.broker.brokers import Brokers
from process_proxies.gateway.identity import (
    HubIdentities,
    HubUnavailableError,
    Identity,
    UnknownCallerError,
    token_of,
)
from process_proxies.gateway.kernelspecs import Choices, listing, model
from process_proxies.gateway.managers import ElasticMappingKernelManager, kernel_model

RETRY_AFTER = "2"
"""Seconds after which a caller may ask again when nothing is known."""


class IdentityMixin:
    """Finds out who asks, before any route does anything. A handler without it is not served."""

    request: Any
    settings: dict[str, Any]
    caller: Identity

    @property
    def owner(self) -> Owner:
        """The user and server for whom this request acts."""
        return self.caller.owner

    def get_current_user(self) -> str:
        """For jupyter_server's ``@authenticated``."""
        return self.caller.owner.user if hasattr(self, "caller") else ""

    async def prepare(self) -> None:
        """403 without an identity, 503 when the Hub cannot be asked."""
        await self.identify()
        result = super().prepare()  # type: ignore[misc]
        if inspect.isawaitable(result):
            await result

    async def identify(self) -> None:
        """Set ``caller``."""
        if self.request.method == "OPTIONS":
            return
        identities: HubIdentities = self.settings["elastic_identities"]
        try:
            self.caller = await identities.identify(token_of(self.request.headers))
        except UnknownCallerError:
            raise web.HTTPError(403, "No valid Hub token came with this request.") from None
        except HubUnavailableError:
            raise web.HTTPError(503, "The Hub cannot be asked who is calling; try again in a moment.") from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say when to ask again where nothing is known. Here, since tornado drops headers that were set before."""
        if status_code == 503:
            self.set_header("Retry-After", RETRY_AFTER)  # type: ignore[attr-defined]
        super().write_error(status_code, **kwargs)  # type: ignore[misc]

    @property
    def brokers(self) -> Brokers:
        """All brokers."""
        brokers: Brokers = self.settings["elastic_brokers"]
        return brokers

    @property
    def kernels(self) -> ElasticMappingKernelManager:
        """The mapping manager."""
        manager: ElasticMappingKernelManager = self.settings["kernel_manager"]
        return manager

    def owned(self, kernel_id: str) -> Broker:
        """The broker of a kernel of the caller's."""
        return self.kernels.owned(kernel_id, self.owner)


class ElasticHandler(IdentityMixin, CORSMixin, JSONErrorsMixin, APIHandler):  # type: ignore[misc]
    """Base of the REST routes."""

    def set_default_headers(self) -> None:
        """Enterprise Gateway's CORS headers, and JSON."""
        super().set_default_headers()
        self.set_header("Content-Type", "application/json")

    def check_xsrf_cookie(self) -> None:
        """Callers bring a token in a header, which no page of another site can do."""

    def options(self, *args: Any, **kwargs: Any) -> None:
        """CORS pre-flight."""
        self.finish()

    def answer(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.finish(json.dumps(value))

    def body(self) -> dict[str, Any]:
        """The request's JSON object, {} if there is none. Raises 400."""
        if not self.request.body:
            return {}
        try:
            value = json.loads(self.request.body)
        except ValueError:
            raise web.HTTPError(400, "The body is not JSON.") from None
        if not isinstance(value, dict):
            raise web.HTTPError(400, "The body is not a JSON object.")
        return value

    def log_exception(self, kind: Any, value: Any, trace: Any) -> None:
        """Refusals are answers, not faults; anything else is logged with its trace."""
        if not isinstance(value, web.HTTPError):
            super().log_exception(kind, value, trace)

    def _handle_request_exception(self, error: BaseException) -> None:
        if isinstance(error, UnavailableError):
            error = web.HTTPError(503, "Kubernetes cannot be asked now; try again in a moment.")
        super()._handle_request_exception(error)


def working_dir(asked: object, home: Home) -> str:
    """The folder a kernel starts in: what the client asked for if it lies inside its own home, else the home."""
    if not isinstance(asked, str) or not asked.startswith("/"):
        return ""
    path = PurePosixPath(asked)
    if ".." in path.parts or not path.is_relative_to(home.mount_path):
        return ""
    return str(path)


def kernel_id(asked: object) -> str:
    """The id that a client asks for if it is a UUID, else a new one."""
    try:
        return str(uuid.UUID(str(asked)))
    except ValueError:
        return str(uuid.uuid4())


class KernelStarter:
    """Makes kernels for the routes that start one."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._choices: Choices = settings["elastic_choices"]
        self._default: str = settings["elastic_default_kernel"]
        self._idle: timedelta = settings["elastic_idle_timeout"]
        self._retention: timedelta = settings["elastic_retention"]
        self._controller: KernelController = settings["elastic_brokers"].controller
        self._kernels: ElasticMappingKernelManager = settings["kernel_manager"]

    def _choice(self, name: object) -> Choice:
        choices = self._choices()
        chosen = choices.get(str(name or self._default or next(iter(choices), "")))
        if chosen is None:
            names = ", ".join(choices) or "none"
            raise web.HTTPError(400, f"There is no kernelspec {name!r} here; there are: {names}.")
        return chosen

    async def start(self, owner: Owner, name: object, env: object) -> str:
        """Write one object and return its id. Raises 400 for an unknown kernelspec, 409 for a taken id."""
        if not self._controller.synced:
            raise web.HTTPError(503, "Kernels are not known yet; try again in a moment.")
        choice = self._choice(name)
        said = env if isinstance(env, dict) else {}
        home = self._controller.homes.get(notebook_name(owner.user, owner.server)) or Home()
        size_idle = choice.size.idle_timeout if choice.size else None
        new = NewKernel(
            id=kernel_id(said.get("KERNEL_ID")),
            owner=owner,
            kernelspec=choice.spec.name,
            size=choice.size.name if choice.size else "",
            working_dir=working_dir(said.get("KERNEL_WORKING_DIR"), home),
            idle_timeout=size_idle or self._idle,
            retention=self._retention,
        )
        try:
            return await self._kernels.start_kernel(kernel_name=choice.name, new_kernel=new)
        except AlreadyExistsError:
            raise web.HTTPError(409, f"Kernel {new.id} exists already.") from None
        except (ForbiddenError, InvalidError) as error:
            raise web.HTTPError(403, f"The cluster refuses the kernel: {error.message}") from None


class MainKernelHandler(ElasticHandler):
    """``/api/kernels``"""

    def get(self) -> None:
        """The caller's kernels."""
        if not self.brokers.controller.synced:
            raise web.HTTPError(503, "Kernels are not known yet; try again in a moment.")
        self.answer(self.kernels.kernels_of(self.owner))

    async def post(self) -> None:
        """A new kernel, which holds nothing until its first cell. Identity in the body is ignored."""
        body = self.body()
        started = await KernelStarter(self.settings).start(self.owner, body.get("name"), body.get("env"))
        broker = self.owned(started)
        self.set_header("Location", f"{self.base_url}api/kernels/{started}")
        self.answer(kernel_model(broker), 201)


class KernelHandler(ElasticHandler):
    """``/api/kernels/<id>``"""

    def get(self, kernel_id: str) -> None:
        """One kernel of the caller's."""
        self.answer(kernel_model(self.owned(kernel_id)))

    async def delete(self, kernel_id: str) -> None:
        """End it for good."""
        self.owned(kernel_id)
        await self.kernels.shutdown_kernel(kernel_id)
        self.set_status(204)
        self.finish()


class KernelActionHandler(ElasticHandler):
    """``/api/kernels/<id>/(interrupt|restart|suspend)``"""

    async def post(self, kernel_id: str, action: str) -> None:
        """Act on one kernel of the caller's."""
        broker = self.owned(kernel_id)
        if action == "restart":
            await self.kernels.restart_kernel(kernel_id)
            self.answer(kernel_model(broker))
            return
        if action == "interrupt":
            try:
                await self.kernels.interrupt_kernel(kernel_id)
            except InterruptRefusedError as error:
                raise web.HTTPError(501, str(error)) from None
        else:
            await self._suspend(broker)
        self.set_status(204)
        self.finish()

    async def _suspend(self, broker: Broker) -> None:
        """Give the pod back at once if nothing runs; what a user server asks for at its end."""
        if broker.life is None and not broker.cells:
            return
        if not broker.prepare_suspend():
            raise web.HTTPError(409, "The kernel is busy.")
        await self.brokers.kernels.suspend(broker.id, Reason.IDLE)


class MainKernelSpecHandler(ElasticHandler):
    """``/api/kernelspecs``"""

    def get(self) -> None:
        """All kernelspecs, as the objects are now."""
        if not self.brokers.controller.synced:
            raise web.HTTPError(503, "Kernelspecs are not known yet; try again in a moment.")
        self.answer(listing(self.settings["elastic_choices"](), self.settings["elastic_default_kernel"]))


class KernelSpecHandler(ElasticHandler):
    """``/api/kernelspecs/<name>``"""

    def get(self, name: str) -> None:
        """One kernelspec."""
        choice = self.settings["elastic_choices"]().get(name)
        if choice is None:
            raise web.HTTPError(404, f"Kernelspec does not exist: {name}")
        self.answer(model(choice))


class KernelSpecResourceHandler(ElasticHandler):
    """``/kernelspecs/<name>/<file>``: logos; there are none."""

    def get(self, name: str, path: str) -> None:
        """404."""
        raise web.HTTPError(404, f"Kernelspec {name} has no resource {path}")


class HealthHandler(web.RequestHandler):  # type: ignore[misc]
    """``/healthz``: whether the gateway knows its kernels; open, and tells nothing else."""

    def get(self) -> None:
        """200 or 503."""
        ready = self.settings["elastic_brokers"].controller.synced
        self.set_status(200 if ready else 503)
        self.finish("ok" if ready else "starting")
