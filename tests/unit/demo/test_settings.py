"""What a person may ask of the demo, and what they are told when it cannot be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from local_cluster.demo.settings import SettingsError, read_settings


def test_without_settings_there_are_two_users_and_twenty_seconds() -> None:
    """The demo's defaults are those of the README."""
    settings = read_settings({}, Path("/checkout"))
    assert settings.idle_timeout == timedelta(seconds=20)
    assert settings.user_names == ["ada", "grace"]
    assert settings.state_dir == Path("/checkout/.build/demo")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("IDLE_TIMEOUT", "0", "IDLE_TIMEOUT=0 is out of range; give seconds, 1 to 86400."),
        ("IDLE_TIMEOUT", "-5", "IDLE_TIMEOUT=-5 is out of range"),
        ("IDLE_TIMEOUT", "soon", "IDLE_TIMEOUT='soon' is not a whole number"),
        ("GPUS", "-1", "GPUS=-1 is out of range"),
        ("USERS", "0", "USERS=0 is out of range"),
        ("PORT", "70000", "PORT=70000 is out of range"),
    ],
)
def test_a_bad_setting_is_named_with_what_would_do(name: str, value: str, told: str) -> None:
    """The message names the setting, its value and the allowed range."""
    with pytest.raises(SettingsError) as error:
        read_settings({name: value}, Path("/checkout"))
    assert told in str(error.value)


def test_every_user_has_a_name_of_their_own() -> None:
    """Any number of users gets distinct names."""
    names = read_settings({"USERS": "20"}, Path("/checkout")).user_names
    assert len(set(names)) == 20
