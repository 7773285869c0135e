"""Where the extension meets jupyter_server: which classes and hooks of ours it uses, and when.

Whatever an administrator configured is left as it is.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.gateway.gateway_client import GatewayClient

from elastic_frontend.activity import ActivityWatch
from elastic_frontend.gateway_connection import MAX_MESSAGE, ElasticGatewayConnection
from elastic_frontend.kernelspecs import ElasticKernelSpecManager
from elastic_frontend.managers import ElasticMappingKernelManager, ElasticSessionManager
from elastic_frontend.save_hook import strip_waiting_lines
from elastic_frontend.sessions_file import usable_sessions_file

CLASSES = {
    "kernel_manager_class": ElasticMappingKernelManager,
    "session_manager_class": ElasticSessionManager,
    "kernel_spec_manager_class": ElasticKernelSpecManager,
    "kernel_websocket_connection_class": ElasticGatewayConnection,
}


def in_gateway_mode(serverapp: Any) -> bool:
    """Whether this server's kernels run at a gateway."""
    return bool(GatewayClient.instance(parent=serverapp).gateway_enabled)


def link(serverapp: Any) -> None:
    """Name our classes, before any is instantiated."""
    if not in_gateway_mode(serverapp):
        return
    for trait, ours in CLASSES.items():
        if trait not in serverapp.config.ServerApp:
            setattr(serverapp, trait, ours)
    if "database_filepath" not in serverapp.config.SessionManager and (path := usable_sessions_file(serverapp.log)):
        serverapp.config.SessionManager.database_filepath = str(path)


def load(serverapp: Any) -> None:
    """Register the save hook and begin to watch for busy kernels."""
    if not in_gateway_mode(serverapp):
        return
    serverapp.contents_manager.register_pre_save_hook(strip_waiting_lines)
    settings = serverapp.web_app.settings
    settings.setdefault("websocket_max_message_size", MAX_MESSAGE)
    kernels = serverapp.kernel_manager
    if isinstance(kernels, ElasticMappingKernelManager):
        ActivityWatch(kernels, settings, kernels.busy_check_interval).start()
    serverapp.log.info("elastic_frontend: kernels run at %s", GatewayClient.instance().url)
