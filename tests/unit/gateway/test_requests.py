"""What a client may say about a kernel, and what is dropped."""

from __future__ import annotations

import uuid

import pytest

from kernel_core.manifests import Home
from kernel_core.sizes import KernelSpec, Size, all_choices
from process_proxies.gateway.handlers import kernel_id, working_dir
from process_proxies.gateway.kernelspecs import listing, spec_json

HOME = Home(mount_path="/home/jovyan")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/home/jovyan/project", "/home/jovyan/project"),
        ("/home/jovyan", "/home/jovyan"),
        ("/home/jovyan2", ""),
        ("/home/jovyan/../other", ""),
        ("/etc", ""),
        ("relative", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_kernel_starts_in_a_folder_of_its_own_home_only(asked: object, given: str) -> None:
    """Anything else is dropped, and the home is taken."""
    assert working_dir(asked, HOME) == given


def test_a_client_may_choose_a_uuid_and_nothing_else() -> None:
    """The id is an object's name."""
    chosen = str(uuid.uuid4())
    assert kernel_id(chosen) == chosen
    for rubbish in (None, "", "../../x", "a" * 300):
        uuid.UUID(kernel_id(rubbish))


def test_kernelspecs_are_images_times_sizes() -> None:
    """Named so that notebooks may store it, shown as people read it."""
    sizes = {"cpu": Size("cpu", "CPU"), "1-gpu": Size("1-gpu", "1 GPU")}
    specs = [
        KernelSpec("python3", "Python 3", "python", "i", ("python",), sizes=("cpu", "1-gpu", "missing")),
        KernelSpec("plain", "Plain", "python", "i", ("python",)),
    ]
    choices = all_choices(specs, sizes)
    shown = listing(choices, "python3-1-gpu")
    assert {n: s["spec"]["display_name"] for n, s in shown["kernelspecs"].items()} == {
        "python3-cpu": "Python 3 · CPU",
        "python3-1-gpu": "Python 3 · 1 GPU",
        "plain": "Plain",
    }
    assert shown["default"] == "python3-1-gpu"
    assert listing(choices, "gone")["default"] in choices


def test_a_kernelspec_names_the_process_proxy_as_enterprise_gateway_knows_it() -> None:
    """An importable class."""
    from traitlets.utils.importstring import import_item

    choice = all_choices([KernelSpec("p", "P", "python", "i", ("python",))], {})["p"]
    name = spec_json(choice)["metadata"]["process_proxy"]["class_name"]
    assert import_item(name).__name__ == "ElasticProcessProxy"
