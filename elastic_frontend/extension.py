"""Where the extension meets jupyter_server: which classes and hooks of ours it uses, and when.

Whatever an administrator configured is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.gateway.gateway_client import GatewayClient

from elastic_frontend.activity import ActivityWatch
from elastic_frontend.gateway_connection import MAX_MESSAGE, ElasticGatewayConnection
from elastic_frontend.kernelspecs import ElasticKernelSpecManager
from elastic_frontend.managers import ElasticMappingKernelManager, ElasticSessionManager
from elastic_frontend.save_hook import strip_waiting_lines

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
    if "database_filepath" not in serverapp.config.SessionManager:
        serverapp.config.SessionManager.database_filepath = str(sessions_file())


def sessions_file() -> Path:
    """Where notebooks' sessions are kept, so that a new server finds which kernel is whose.

    In the home, one file for each named server: they share the home and not their kernels.
    """
    directory = Path(jupyter_data_dir()) / "elastic-jupyter"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"sessions-{os.environ.get('JUPYTERHUB_SERVER_NAME') or 'default'}.db"


def load(serverapp: Any) -> None:
    """Register the save hook and begin to watch for busy kernels."""
    if not in_gateway_mode(serverapp):
        return
    serverapp.contents_manager.register_pre_save_hook(strip_waiting_lines)
    settings = serverapp.web_app.settings
    settings.setdefault("websocket_max_message_size", MAX_MESSAGE)
    if isinstance(serverapp.kernel_manager, ElasticMappingKernelManager):
        ActivityWatch(serverapp.kernel_manager, settings).start()
    serverapp.log.info("elastic_frontend: kernels run at %s", GatewayClient.instance().url)
