"""Names that are always valid and never shared."""

from __future__ import annotations

import re

import pytest

from kernel_core.names import kernelspec_name, notebook_name, pod_name, safe_slug

NAMES = ["ada", "Ada", "ada@example.org", "a" * 200, "ünï", "a--b", "-", "", "ada-", "a_b", "a.b", "日本"]


@pytest.mark.parametrize("name", NAMES)
def test_a_slug_is_valid_whatever_the_user_is_called(name: str) -> None:
    """Lower case letters, digits and dashes, within its length."""
    slug = safe_slug(name, 40)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", slug)
    assert len(slug) <= 40


def test_two_users_never_share_a_name() -> None:
    """Slugs of different names differ, also beside named servers."""
    assert len({safe_slug(name) for name in NAMES}) == len(NAMES)
    pairs = [("a", "b"), ("a--b", ""), ("a", ""), ("a-b", ""), ("A", "b")]
    assert len({notebook_name(*pair) for pair in pairs}) == len(pairs)


def test_a_pods_name_fits_a_label_for_a_short_user_and_tells_its_incarnation() -> None:
    """Dashboards of user pods look for the prefix."""
    name = pod_name("ada", "0" * 8 + "-0000-0000-0000-" + "0" * 12, 3)
    assert name.startswith("jupyter-ada-")
    assert name.endswith("-3")


def test_a_kernelspec_in_a_size_has_a_name_that_never_changes() -> None:
    """Notebooks store it."""
    assert kernelspec_name("python3", "1-gpu") == "python3-1-gpu"
    assert kernelspec_name("python3", "") == "python3"
