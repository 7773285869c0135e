"""``jupyter-elasticgateway``: Enterprise Gateway's app with our managers, routes and life.

It is disposable: its kernels are objects in the cluster, and neither its end nor its death ends one of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from enterprise_gateway.enterprisegatewayapp import EnterpriseGatewayApp
from jupyter_core.application import JupyterApp
from jupyter_server.services.kernels.handlers import _kernel_id_regex
from tornado import httpserver, web
from traitlets import Float, TraitError, Unicode, default, validate

from kernel_core.cluster.client import ApiError, Client, UnavailableError
from kernel_core.cluster.controller import KernelController
from kernel_core.sizes import Choice, all_choices
from process_proxies.broker.brokers import Brokers
from process_proxies.gateway import handlers, sessions
from process_proxies.gateway.identity import HubIdentities
from process_proxies.gateway.kernelspecs import ElasticKernelSpecManager
from process_proxies.gateway.managers import ElasticMappingKernelManager
from process_proxies.gateway.websocket import ChannelsHandler

MAX_MESSAGE = 512 * 1024 * 1024
"""Largest WebSocket message taken from a client, in bytes: files given to a widget come as one."""

_SPEC_NAME = r"(?P<name>[\w\.\-%]+)"
_SESSION_ID = r"(?P<session_id>\w+)"
_KERNEL = _kernel_id_regex


class ElasticGatewayApp(EnterpriseGatewayApp):  # type: ignore[misc]
    """The gateway."""

    name = "jupyter-elasticgateway"
    description = "Kernels that are pods only while they are used."

    namespace = Unicode(
        config=True,
        help="""Namespace of the kernels, their kernelspecs and sizes.
        Default from ``ELASTIC_NAMESPACE``, else ``default``.""",
    )
    gateway_name = Unicode(
        config=True,
        help="""Name of this gateway: it manages the JupyterKernels whose ``spec.managedBy`` is this.
        Default from ``ELASTIC_GATEWAY_NAME``, else ``elastic-gateway``.""",
    )
    kubeconfig = Unicode(
        config=True,
        help="""File with the credentials for Kubernetes; empty means the pod's own ServiceAccount.
        Default from ``KUBECONFIG``.""",
    )
    hub_api_url = Unicode(
        config=True,
        help="""URL of the Hub's API, which names the user of each token. Default from ``JUPYTERHUB_API_URL``.""",
    )
    idle_timeout = Float(
        config=True,
        help="""Seconds without activity before a kernel is suspended, where its size names no time of its own.
        Default from ``ELASTIC_IDLE_TIMEOUT``, else 1200.""",
    )
    retention_seconds = Float(
        7 * 24 * 3600,
        config=True,
        help="""Seconds for which a kernel that holds nothing and that nobody opens is kept. Default 7 days.""",
    )
    identity_cache_seconds = Float(
        30, config=True, help="""Seconds for which the Hub's word on a token is believed. Default 30."""
    )
    identity_outage_seconds = Float(
        600,
        config=True,
        help="""Seconds for which a caller that the Hub has named goes on while the Hub is away. Default 600.""",
    )

    aliases = {  # noqa: RUF012  # traitlets' way of saying it
        **EnterpriseGatewayApp.aliases,
        "namespace": "ElasticGatewayApp.namespace",
        "gateway-name": "ElasticGatewayApp.gateway_name",
        "kubeconfig": "ElasticGatewayApp.kubeconfig",
        "hub-api-url": "ElasticGatewayApp.hub_api_url",
        "idle-timeout": "ElasticGatewayApp.idle_timeout",
    }

    @default("namespace")
    def _namespace_default(self) -> str:
        return os.environ.get("ELASTIC_NAMESPACE", "default")

    @default("gateway_name")
    def _gateway_name_default(self) -> str:
        return os.environ.get("ELASTIC_GATEWAY_NAME", "elastic-gateway")

    @default("kubeconfig")
    def _kubeconfig_default(self) -> str:
        return os.environ.get("KUBECONFIG", "")

    @default("hub_api_url")
    def _hub_api_url_default(self) -> str:
        return os.environ.get("JUPYTERHUB_API_URL", "")

    @default("idle_timeout")
    def _idle_timeout_default(self) -> float:
        text = os.environ.get("ELASTIC_IDLE_TIMEOUT", "1200")
        try:
            return float(text)
        except ValueError:
            raise TraitError(f"ELASTIC_IDLE_TIMEOUT={text!r} is not a number of seconds.") from None

    @validate("idle_timeout")
    def _check_idle_timeout(self, proposal: Any) -> float:
        value: float = proposal["value"]
        if value < 1:
            raise TraitError(f"idle_timeout={value:g} would suspend every kernel at once; give 1 second or more.")
        return value

    @default("kernel_manager_class")
    def _kernel_manager_class(self) -> type:
        return ElasticMappingKernelManager

    @default("kernel_spec_manager_class")
    def _kernel_spec_manager_class(self) -> type:
        return ElasticKernelSpecManager

    def init_configurables(self) -> None:
        """Enterprise Gateway's own, then ours; nothing is contacted yet."""
        if not self.hub_api_url:
            self.exit_with(
                "hub_api_url is not set. Give --hub-api-url or JUPYTERHUB_API_URL, e.g. http://hub:8081/hub/api."
            )
        if self.idle_timeout < 1:  # a default from the environment is not validated
            self.exit_with(f"ELASTIC_IDLE_TIMEOUT={self.idle_timeout:g}: give 1 second or more.")
        self.brokers = Brokers()
        super().init_configurables()
        self.kernel_manager.brokers = self.brokers
        self.kernel_spec_manager.choices = self.choices
        self.sessions = sessions.Sessions()
        self.brokers.on_gone(self.sessions.kernel_gone)
        self.identities = HubIdentities(
            self.hub_api_url,
            timedelta(seconds=self.identity_cache_seconds),
            timedelta(seconds=self.identity_outage_seconds),
        )

    def exit_with(self, message: str) -> None:
        """End with a line for people."""
        self.log.critical(message)
        self.exit(1)

    def choices(self) -> dict[str, Choice]:
        """Every kernelspec, as the objects are now."""
        controller = self.brokers.controller
        sizes = {size.name: size for size in controller.sizes.all()}
        specs = sorted(controller.specs.all(), key=lambda spec: spec.name)
        return all_choices(specs, sizes)

    def _create_request_handlers(self) -> list[tuple[Any, ...]]:
        """Only routes that know their caller; whatever else Enterprise Gateway serves is not here."""
        kernel = rf"/api/kernels/{_KERNEL}"
        routes: list[tuple[str, type]] = [
            (r"/healthz", handlers.HealthHandler),
            (r"/api/kernels", handlers.MainKernelHandler),
            (kernel, handlers.KernelHandler),
            (rf"{kernel}/(?P<action>interrupt|restart|suspend)", handlers.KernelActionHandler),
            (rf"{kernel}/channels", ChannelsHandler),
            (r"/api/kernelspecs", handlers.MainKernelSpecHandler),
            (rf"/api/kernelspecs/{_SPEC_NAME}", handlers.KernelSpecHandler),
            (rf"/kernelspecs/{_SPEC_NAME}/(?P<path>.*)", handlers.KernelSpecResourceHandler),
            (r"/api/sessions", sessions.SessionRootHandler),
            (rf"/api/sessions/{_SESSION_ID}", sessions.SessionHandler),
        ]
        base = self.base_url.rstrip("/")
        return [(base + pattern, handler) for pattern, handler in routes]

    def init_webapp(self) -> None:
        """Enterprise Gateway's own, with what our routes need."""
        super().init_webapp()
        self.web_app.settings.update(
            elastic_identities=self.identities,
            elastic_brokers=self.brokers,
            elastic_sessions=self.sessions,
            elastic_choices=self.choices,
            elastic_default_kernel=self.default_kernel_name or "",
            elastic_idle_timeout=timedelta(seconds=self.idle_timeout),
            elastic_retention=timedelta(seconds=self.retention_seconds),
            websocket_max_message_size=MAX_MESSAGE,
            log_function=_log_request,
        )

    def init_http_server(self) -> None:
        """Make the server; it listens when the event loop runs."""
        self.http_server = httpserver.HTTPServer(
            self.web_app, xheaders=self.trust_xheaders, ssl_options=self._build_ssl_options()
        )

    def start(self) -> None:
        """Run until SIGTERM or Ctrl-C."""
        JupyterApp.start(self)
        code = asyncio.run(self._serve())
        if code:
            self.exit(code)

    async def _serve(self) -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self.kubeconfig))
            controller = KernelController(client, self.namespace, self.gateway_name, self.brokers)
            self.brokers.bind(controller)
            try:
                self.http_server.listen(self.port, self.ip)
            except OSError as error:
                self.log.critical(
                    "Cannot listen on %s:%s: %s. Give another --port.", self.ip, self.port, error.strerror
                )
                return 1
            stack.callback(self.http_server.stop)
            self.brokers.start()
            stack.push_async_callback(self.brokers.stop)
            await self.identities.start()
            stack.push_async_callback(self.identities.stop)
            stack.push_async_callback(controller.stop)
            try:
                await controller.start()
            except (ApiError, UnavailableError) as error:
                self.log.critical("The gateway cannot start: %s", error)
                return 1
            self.log.info(
                "Gateway %s serves namespace %s on %s:%s", self.gateway_name, self.namespace, self.ip, self.port
            )
            await stop.wait()
            self.log.info("Gateway %s stops; its kernels stay", self.gateway_name)
        return 0

    def shutdown(self) -> None:
        """Kernels stay: the stock one would end them one by one."""


def _log_request(handler: web.RequestHandler) -> None:
    """One line for each refusal and fault; successes are not worth one each."""
    status = handler.get_status()
    if status >= 400 and status != 404:
        logging.getLogger("tornado.access").warning(
            "%s %s %s %.1f ms",
            status,
            handler.request.method,
            handler.request.path,
            1000 * handler.request.request_time(),
        )


def main() -> None:
    """The console script."""
    ElasticGatewayApp.launch_instance()
