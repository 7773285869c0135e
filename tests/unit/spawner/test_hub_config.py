"""The example hub: its settings file, what it makes of it, and what it says about mistakes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest
import yaml
from jupyterhub.app import JupyterHub
from jupyterhub.scopes import scope_definitions
from traitlets.config import Config, PyFileConfigLoader

from elastic_spawner.spawner import ElasticSpawner
from hub_config import jupyterhub_config_path, parts
from hub_config.passwords import PasswordsAuthenticator
from hub_config.rbac import NOTEBOOK_RULES, hub_rules
from hub_config.settings import SettingsError, load_settings, parse_settings

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def content(tmp_path: Path) -> dict:
    """Settings with everything that must be given."""
    proxy = tmp_path / "configurable-http-proxy"
    proxy.touch()
    return {
        "state_dir": str(tmp_path / "state"),
        "namespace": "elastic",
        "port": 8000,
        "hub_port": 8081,
        "proxy_api_port": 8001,
        "proxy_command": str(proxy),
        "users": {"ada": "secret one", "grace": "secret two"},
        "gateway_url": "http://127.0.0.1:8888",
        "admin_token": TOKEN,
    }


@pytest.fixture
def config(content: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The configuration as JupyterHub reads it."""
    file = tmp_path / "hub.json"
    file.write_text(json.dumps(content))
    monkeypatch.setenv("ELASTIC_HUB_SETTINGS", str(file))
    return PyFileConfigLoader(str(jupyterhub_config_path())).load_config()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": 99999}, "port: 99999 is not a port; give a number from 1 to 65535"),
        ({"port": "8000"}, "port: '8000' is not a whole number"),
        ({"hub_port": 8000}, "each needs a port of its own"),
        ({"namespace": ""}, "namespace: must not be empty"),
        ({"state_dir": "state"}, "must be an absolute path"),
        ({"gateway_url": "gateway:8888"}, "must start with http:// or https://"),
        ({"cull_timeout": -1}, "cull_timeout: -1 must be a number of seconds; 0 is never"),
        ({"start_timeout": 0}, "start_timeout: 0 must be at least 1 second"),
        ({"log_level": "LOUD"}, "log_level: 'LOUD' is none of DEBUG, INFO"),
        ({"admin_token": "short"}, "admin_token: must have 16 to 64 characters"),
        ({"users": {"ada": ""}}, "users: 'ada' without a name or a password"),
        ({"users": {"Ada": "x"}}, "lower case only"),
        ({"users": ["ada"]}, "users: must be an object of names and passwords"),
        ({"proxy_command": "/nowhere/proxy"}, "/nowhere/proxy does not exist"),
        ({"colour": "blue"}, "colour: no such setting; there are admin_token, "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_would_do(content, change, message) -> None:
    """Before anything is started."""
    with pytest.raises(SettingsError, match=message):
        parse_settings({**content, **change})


def test_missing_settings_are_named(content) -> None:
    """All at once."""
    del content["port"], content["namespace"]
    with pytest.raises(SettingsError, match="namespace, port: not given"):
        parse_settings(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read: No such file"), ("{", "is not JSON"), ("[]", "must hold one JSON object, not list")],
)
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path, text, message) -> None:
    """With its path."""
    file = tmp_path / "hub.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=message) as raised:
        load_settings({"ELASTIC_HUB_SETTINGS": str(file)})
    assert str(file) in str(raised.value)
    with pytest.raises(SettingsError, match="ELASTIC_HUB_SETTINGS is not set"):
        load_settings({})


async def test_the_hub_ends_with_one_line_about_a_wrong_setting(content, tmp_path) -> None:
    """The real program, without a traceback."""
    file = tmp_path / "hub.json"
    file.write_text(json.dumps({**content, "port": 0}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jupyterhub", "-f", str(jupyterhub_config_path()),
        env={**os.environ, "ELASTIC_HUB_SETTINGS": str(file)}, cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert f"jupyterhub: Settings file {file}: port: 0 is not a port" in out.decode()
    assert "Traceback" not in out.decode()


def test_the_configuration_names_only_traits_that_exist(config) -> None:
    """A misspelled trait would be ignored by the Hub."""
    from jupyterhub.proxy import ConfigurableHTTPProxy

    classes = {
        "JupyterHub": JupyterHub,
        "ConfigurableHTTPProxy": ConfigurableHTTPProxy,
        "PasswordsAuthenticator": PasswordsAuthenticator,
        "KubeSpawner": ElasticSpawner,
        "ElasticSpawner": ElasticSpawner,
    }
    assert set(config) == set(classes)
    for section, values in config.items():
        assert set(values) <= set(classes[section].class_traits(config=True))


def test_homes_are_shared_and_servers_outlive_the_hub(config) -> None:
    """What the demo relies on."""
    assert config.JupyterHub.spawner_class == "elastic"
    assert config.KubeSpawner.storage_access_modes == ["ReadWriteMany"]
    assert config.JupyterHub.cleanup_servers is False


async def test_the_spawner_takes_this_configuration(config, make_spawner, content) -> None:
    """A pod with the user's claim, listening on its own address, kernels at the gateway."""
    spawner = make_spawner(config=config)
    pod = spawner.api.api_client.sanitize_for_serialization(await spawner.get_pod_manifest())
    (container,) = pod["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert container["image"] == "elastic-jupyter/user-server:latest"
    assert env["JUPYTERHUB_SERVICE_URL"].startswith("http://$(POD_IP):8888")
    assert list(env).index("POD_IP") < list(env).index("JUPYTERHUB_SERVICE_URL")
    assert env["JUPYTER_GATEWAY_URL"] == content["gateway_url"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "claim-ada"
    assert spawner.get_pvc_manifest().spec.access_modes == ["ReadWriteMany"]


def test_secrets_are_made_once_and_kept_from_others(content) -> None:
    """The proxy's token in the state directory."""
    path = Path(content["state_dir"]) / "proxy_token"
    token = parts.private_token(path)
    assert len(token) == 64
    assert parts.private_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_services_have_roles_of_scopes_that_the_hub_knows(content) -> None:
    """And none that is not running."""
    settings = parse_settings({**content, "cull_timeout": 8})
    services, roles = parts.services(settings), parts.roles(settings)
    assert [one["name"] for one in services] == ["demo-admin", "idle-culler"]
    assert "--timeout=8" in services[1]["command"]
    assert "--cull-every=2" in services[1]["command"]
    assert {name for role in roles for name in role["services"]} == {one["name"] for one in services}
    assert {scope for role in roles for scope in role["scopes"]} <= set(scope_definitions)
    bare = parse_settings({**content, "cull_timeout": 0, "admin_token": ""})
    assert parts.services(bare) == parts.roles(bare) == []


@pytest.mark.parametrize(("cull", "report", "every"), [(3600, 300, 600), (8, 2, 2), (1, 1, 1), (0, 300, 1)])
def test_activity_is_reported_well_within_the_cull_timeout(content, cull, report, every) -> None:
    """Otherwise servers in use would be stopped."""
    settings = parse_settings({**content, "cull_timeout": cull})
    assert (settings.activity_interval, settings.cull_every) == (report, every)


@pytest.mark.parametrize(
    ("name", "password", "expected"),
    [
        ("ada", "secret one", "ada"),
        ("Ada", "secret one", "ada"),
        ("ada", "secret two", None),
        ("ada", "", None),
        ("nobody", "", None),
        ("nobody", "secret one", None),
        ("ada", "gehe\u00efm", None),
    ],
)
async def test_only_the_right_password_lets_a_user_in(content, name, password, expected) -> None:
    """An unknown user has no password, and an empty one is none."""
    authenticator = PasswordsAuthenticator(passwords=content["users"])
    assert await authenticator.authenticate(None, {"username": name, "password": password}) == expected


def test_the_hubs_role_has_no_verb_that_its_features_do_not_need() -> None:
    """Nothing cluster-wide, no wildcard, secrets only with internal TLS."""
    plain = hub_rules()
    assert {resource for rule in plain for resource in rule["resources"]} == {
        "pods", "events", "persistentvolumeclaims", "jupyternotebooks", "jupyternotebooks/status"
    }  # fmt: skip
    assert not any("*" in verbs["verbs"] or "update" in verbs["verbs"] for verbs in plain)
    assert "secrets" in str(hub_rules(internal_ssl=True))
    assert "delete" not in hub_rules(delete_pvc=False)[2]["verbs"]
    assert plain[-2:] == NOTEBOOK_RULES


def test_the_how_to_says_what_the_code_needs() -> None:
    """Its role is ours, and its configuration sets traits that exist."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "use-in-your-own-hub.md").read_text()
    blocks = dict(re.findall(r"```(yaml|python)\n(.*?)```", page, re.DOTALL))
    assert yaml.safe_load(blocks["yaml"])["rules"] == NOTEBOOK_RULES
    config = Config()
    exec(compile(blocks["python"], "how-to", "exec"), {"c": config})  # noqa: S102  # the page's own example
    traits = ElasticSpawner.class_traits(config=True)
    assert {*config.KubeSpawner, *config.ElasticSpawner} <= set(traits)
    assert config.JupyterHub.spawner_class == "elastic"
