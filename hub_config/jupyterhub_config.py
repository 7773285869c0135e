"""A hub with ElasticSpawner, as the demo runs it: assignments only.

Start it with ``KUBECONFIG=file ELASTIC_HUB_SETTINGS=settings.json jupyterhub -f jupyterhub_config.py``; what may
stand in the settings file is in ``hub_config/settings.py``. For a hub of your own, six lines do: see
docs/how-to/use-in-your-own-hub.md.
"""

import os

from hub_config import parts
from hub_config.passwords import PasswordsAuthenticator
from hub_config.settings import settings_or_exit

settings = settings_or_exit(os.environ)

# the Hub
c.JupyterHub.bind_url = f"http://{settings.host}:{settings.port}"
c.JupyterHub.hub_ip = settings.host
c.JupyterHub.hub_port = settings.hub_port
c.JupyterHub.hub_connect_ip = settings.host
c.ConfigurableHTTPProxy.api_url = f"http://{settings.host}:{settings.proxy_api_port}"
c.ConfigurableHTTPProxy.auth_token = parts.private_token(settings.state_dir / "proxy_token")
c.ConfigurableHTTPProxy.command = parts.proxy_command(settings)
c.ConfigurableHTTPProxy.pid_file = str(settings.state_dir / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{settings.state_dir}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = str(settings.state_dir / "cookie_secret")
c.JupyterHub.log_level = settings.log_level
# a Hub that ends leaves user servers and kernels as they are, and finds them again
c.JupyterHub.cleanup_servers = False
# activity must be known well before the culler asks for it
c.JupyterHub.last_activity_interval = min(60, settings.activity_interval)
# whoever waits for a server sees at once what it is doing
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.allow_named_servers = True

# who may log in, and what services may do
c.JupyterHub.authenticator_class = PasswordsAuthenticator
c.PasswordsAuthenticator.passwords = settings.users
c.PasswordsAuthenticator.allowed_users = set(settings.users)
c.JupyterHub.services = parts.services(settings)
c.JupyterHub.load_roles = parts.roles(settings)

# user servers: light pods, kernels at the gateway
c.JupyterHub.spawner_class = "elastic"
c.ElasticSpawner.gateway_url = settings.gateway_url
c.KubeSpawner.namespace = settings.namespace
c.KubeSpawner.image = settings.image
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.ip = "$(POD_IP)"
c.KubeSpawner.environment = parts.user_environment(settings)
c.KubeSpawner.default_url = "/lab"
c.KubeSpawner.start_timeout = settings.start_timeout
c.KubeSpawner.cpu_guarantee = 0.05
c.KubeSpawner.mem_guarantee = "256M"
c.KubeSpawner.uid = 1000
c.KubeSpawner.gid = 100
c.KubeSpawner.fs_gid = 100

# homes that user server and kernels share
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_capacity = settings.home_size
c.KubeSpawner.storage_access_modes = ["ReadWriteMany"]
c.KubeSpawner.storage_class = settings.storage_class or None
c.KubeSpawner.volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}]
c.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
