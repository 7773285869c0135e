"""``{username}`` and its like, and what a name cannot do with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_core.kernel import Owner
from kernel_core.labels import user_label
from kernel_core.placeholders import filled, filled_pod, placeholder_values
from tests.unit.kernel_core.random_pods import USERS
from tests.unit.kernel_core.test_life import make_kernel


def values_of(user: str, server: str = "") -> dict[str, str]:
    """What the placeholders stand for."""
    return placeholder_values(replace(make_kernel(), owner=Owner(user, server)), "ns")


def test_every_placeholder_is_filled_and_everything_else_stays_as_written() -> None:
    """Unknown ones, keys, attribute look-ups, numbers."""
    text = "{username}/{servername}/{kernel_id}/{namespace}/{kernel_name}/{user}/{username!r}/{0}/{username.__class__}"
    made = filled({"{username}": [text, 7, None, True]}, values_of("ada", "two"))
    expected = "ada/two/k/ns/python3-1-gpu/{user}/{username!r}/{0}/{username.__class__}"
    assert made == {"{username}": [expected, 7, None, True]}


@pytest.mark.parametrize("name", USERS)
def test_no_name_breaks_out_of_a_path_a_label_or_a_variable(name: str) -> None:
    """Whatever a user or server is called."""
    for value in values_of(name, name).values():
        assert value and not set(value) & set("/.{}$ ") and len(value) <= 63


def test_two_users_never_share_a_folder() -> None:
    """What was changed about a name has a digest of the name."""
    folders = {filled("homes/{username}", values_of(name)) for name in (*USERS, "Ada", "ADA", "a-b", "a.b")}
    assert len(folders) == len(USERS) + 4


def test_a_name_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    """One pass; and it is a slug by then."""
    assert filled("{username}", values_of("{kernel_id}")) != "k"
    assert filled("{a}", {"a": "x"}) == "{a}"


def test_the_default_server_has_an_empty_name() -> None:
    """As in KubeSpawner."""
    assert filled("{username}/{servername}", values_of("ada")) == "ada/"


def test_commands_are_not_filled() -> None:
    """``{namespace}`` may be jsonpath or shell there."""
    container = {
        "name": "c",
        "args": ["{namespace}"],
        "command": ["{username}"],
        "env": [{"name": "A", "value": "{username}"}],
    }
    made = filled_pod({"containers": [container], "nodeSelector": {"a": "{username}"}}, values_of("ada"))
    assert made["containers"][0] == {**container, "env": [{"name": "A", "value": "ada"}]}
    assert made["nodeSelector"] == {"a": "{username}"}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ada", "ada"),
        ("Ada", "Ada"),
        ("ada.l_1", "ada.l_1"),
        ("", ""),
        ("ada@x.org", "ada-x-org---210e59f6"),
        ("1ada@x.org", "x-1ada-x-org---8fdc3c9b"),
        ("a--b", "a-b---90827a2e"),
    ],
)
def test_a_users_label_is_the_one_that_kubespawner_writes(name: str, label: str) -> None:
    """Measured with KubeSpawner 7."""
    assert user_label(name) == label
