"""What a user server finds in its environment."""

from __future__ import annotations

import pytest
from traitlets import TraitError
from traitlets.config import Config

from elastic_spawner.environment import GatewayUrlError, clean_url, gateway_environment, websocket_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://gateway:8888", "ws://gateway:8888"),
        ("https://gateway", "wss://gateway"),
        ("http://My-HTTP-Gateway:8888/Base/http", "ws://My-HTTP-Gateway:8888/Base/http"),
    ],
)
def test_the_websocket_url_keeps_case_and_path(url: str, expected: str) -> None:
    """Only the scheme changes; a jupyter_server that derives it would change the rest too."""
    assert websocket_url(url) == expected


def test_without_a_gateway_nothing_is_set() -> None:
    """The extension does nothing outside gateway mode, so neither may a stray variable."""
    assert gateway_environment("", "", "secret") == {}


@pytest.mark.parametrize("url", ["gateway:8888", "ftp://gateway", "http://", "http://:8888", "http://gateway:port"])
def test_a_url_that_no_server_could_use_is_refused_with_its_reason(url: str) -> None:
    """The message shows the URL, so that an administrator finds it."""
    with pytest.raises(GatewayUrlError, match=r"gateway|http"):
        clean_url(url)


def test_a_trailing_slash_is_dropped() -> None:
    """Paths are appended to it."""
    assert clean_url(" http://gateway:8888/base/ ") == "http://gateway:8888/base"


async def test_a_user_server_gets_the_gateway_and_its_own_token(make_spawner) -> None:
    """The token is the server's own: nothing else in a request says who asks."""
    env = make_spawner(gateway_url="http://GW:8888/").get_env()
    assert env["JUPYTER_GATEWAY_URL"] == "http://GW:8888"
    assert env["JUPYTER_GATEWAY_WS_URL"] == "ws://GW:8888"
    assert env["JUPYTER_GATEWAY_AUTH_TOKEN"] == "token-of-this-server" == env["JUPYTERHUB_API_TOKEN"]
    assert env["JUPYTER_GATEWAY_AUTH_SCHEME"] == "token"
    assert "KERNEL_USERNAME" not in env


async def test_an_explicit_websocket_url_is_passed_on(make_spawner) -> None:
    """Where WebSockets take another way than requests."""
    spawner = make_spawner(gateway_url="http://gw", gateway_ws_url="wss://sockets.example/gw")
    assert spawner.get_env()["JUPYTER_GATEWAY_WS_URL"] == "wss://sockets.example/gw"


async def test_what_the_administrator_put_into_the_environment_wins(make_spawner) -> None:
    """As with every variable of KubeSpawner."""
    spawner = make_spawner(gateway_url="http://gw", environment={"JUPYTER_GATEWAY_WS_URL": "ws://other"})
    env = spawner.get_env()
    assert env["JUPYTER_GATEWAY_WS_URL"] == "ws://other"
    assert env["JUPYTER_GATEWAY_URL"] == "http://gw"


async def test_the_gateway_can_come_from_the_hubs_environment(make_spawner, monkeypatch) -> None:
    """Configuration comes first."""
    monkeypatch.setenv("ELASTIC_GATEWAY_URL", "http://from-environment")
    monkeypatch.setenv("ELASTIC_HOME_MODE", "SameNode")
    assert make_spawner().get_env()["JUPYTER_GATEWAY_URL"] == "http://from-environment"
    assert make_spawner().home_mode == "SameNode"
    assert make_spawner(gateway_url="http://configured").gateway_url == "http://configured"


async def test_a_bad_trait_is_refused_when_the_spawner_is_made(make_spawner) -> None:
    """With the name of the trait."""
    with pytest.raises(TraitError, match="gateway_url: 'gateway:8888' must start with http:// or https://"):
        make_spawner(gateway_url="gateway:8888")
    with pytest.raises(TraitError, match="home_mount_path 'home'"):
        make_spawner(home_mount_path="home")
    with pytest.raises(TraitError, match="notebook_mirror_timeout 0"):
        make_spawner(notebook_mirror_timeout=0)
    with pytest.raises(TraitError, match="home_mode"):
        make_spawner(home_mode="Everywhere")


async def test_configuration_for_kubespawner_reaches_the_subclass(make_spawner) -> None:
    """Charts write ``c.KubeSpawner``; what is set for ElasticSpawner itself is more specific."""
    config = Config()
    config.KubeSpawner.image = "jupyter/base:1"
    config.KubeSpawner.gateway_url = "http://general"
    config.ElasticSpawner.gateway_url = "http://specific"
    spawner = make_spawner(config=config)
    assert (spawner.image, spawner.gateway_url) == ("jupyter/base:1", "http://specific")
