"""Kernelspecs and sizes as they are read, offered, and found wanting."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kernel_core.manifests import Home, kernel_pod
from kernel_core.quantities import half_of, parse_quantity
from kernel_core.sizes import (
    InvalidSpecError,
    KernelSpec,
    Size,
    all_choices,
    choices_of,
    parse_size,
    parse_spec,
    problems_of,
    size_of,
)
from tests.unit.kernel_core.random_pods import NAMES, a_size
from tests.unit.kernel_core.test_life import make_kernel

SPEC = KernelSpec("py", "Python", "python", "i:1", ("python",), namespace="ns")
CPU, GPU = Size("cpu", "CPU"), Size("gpu", "1 GPU", {"nvidia.com/gpu": "1"})
SIZES = {"cpu": CPU, "gpu": GPU}


def size(name: str = "s", **fields) -> Size:
    """A JupyterKernelTemplate with these ``spec.size`` fields."""
    return parse_size({"metadata": {"name": name}, "spec": {"size": fields}})


def templated(**spec) -> Size:
    """A JupyterKernelTemplate with this pod template."""
    return parse_size({"metadata": {"name": "s"}, "spec": {"template": {"spec": spec}}})


def spec(**fields) -> KernelSpec:
    """A JupyterKernelSpec."""
    return parse_spec({"metadata": {"name": "py", "namespace": "ns"}, "spec": fields})


def wrong(made: Size) -> list[str]:
    """What is wrong with a size."""
    return problems_of(replace(SPEC, sizes=(made.name,)), {made.name: made})


def test_limits_are_read_with_their_units() -> None:
    """None is no limit; warnings come five minutes before by default, and never if it is 0."""
    made = size(
        busyTimeoutSeconds=60, lifetimeSeconds=3600, warningSeconds=0, allowIdleOptOut=True, queueTimeoutSeconds=5
    )
    assert (made.busy_timeout, made.lifetime, made.warning) == (
        timedelta(minutes=1), timedelta(hours=1), timedelta(0),
    )  # fmt: skip
    assert made.allow_idle_opt_out
    bare = size()
    assert (bare.busy_timeout, bare.lifetime, bare.idle_timeout, bare.queue_timeout) == (None, None, None, None)
    assert (bare.warning, bare.start_timeout, bare.allow_idle_opt_out) == (
        timedelta(minutes=5), timedelta(minutes=10), False,
    )  # fmt: skip


def test_a_kernelspec_is_read_with_what_its_pod_needs() -> None:
    """Pull secrets, folder, template; the command follows the language."""
    made = spec(language="R", image="r:1", imagePullSecrets=[{"name": "key"}], workingDir="/w", template={"name": "t"})
    assert (made.image_pull_secrets, made.working_dir, made.template) == (("key",), "/w", "t")
    assert (made.command[0], made.namespace, made.display_name) == ("R", "ns", "py")


@pytest.mark.parametrize(
    "fields",
    [
        {"idleTimeoutSeconds": "ten"},
        {"idleTimeoutSeconds": True},
        {"lifetimeSeconds": -1},
        {"labels": ["a"]},
        {"env": "A=b"},
        {"volumes": {"name": "a"}},
        {"sidecars": ["a"]},
        {"displayName": 7},
        {"allowIdleOptOut": "yes"},
    ],
)
def test_a_size_that_is_no_value_is_refused_by_object_and_field(fields: dict[str, object]) -> None:
    """The informer logs it and leaves it out."""
    with pytest.raises(
        InvalidSpecError, match=f"JupyterKernelTemplate s: spec.size.{next(iter(fields))} is .*; write "
    ):
        size(**fields)


def test_a_kernelspec_in_two_sizes_is_two_entries_of_the_launcher() -> None:
    """Named and shown by both."""
    entries = all_choices([replace(SPEC, sizes=("gpu", "cpu"))], SIZES)
    assert {name: choice.display_name for name, choice in entries.items()} == {
        "py-gpu": "Python · 1 GPU",
        "py-cpu": "Python · CPU",
    }


def test_a_kernelspec_with_one_template_has_it_as_a_size_without_a_name() -> None:
    """As in the original operator: the kernelspec keeps its name, the kernel's size stays empty, the limits hold."""
    template = replace(GPU, idle_timeout=timedelta(seconds=9))
    (choice,) = choices_of(replace(SPEC, template="gpu"), {"gpu": template})
    assert (choice.name, choice.display_name) == ("py", "Python")
    assert choice.size == replace(template, name="")
    assert size_of(replace(SPEC, template="gpu"), "", {"gpu": template}) == choice.size


def test_a_kernel_finds_its_size_again_even_if_the_kernelspec_no_longer_lists_it() -> None:
    """Notebooks keep the name; the size still stands."""
    assert size_of(replace(SPEC, sizes=("cpu",)), "gpu", SIZES) == GPU
    assert size_of(SPEC, "", SIZES) is None


def test_what_is_invalid_is_left_out_alone() -> None:
    """The other sizes of the kernelspec are offered."""
    sizes = {**SIZES, "bad": size("bad", resources={"memory": "12 GB"})}
    offered = choices_of(replace(SPEC, sizes=("bad", "cpu", "gone", "gpu")), sizes)
    assert [choice.name for choice in offered] == ["py-cpu", "py-gpu"]
    with pytest.raises(InvalidSpecError, match="12 GB"):
        size_of(SPEC, "bad", sizes)
    assert choices_of(replace(SPEC, template="gone"), SIZES) == []


def test_nothing_is_wrong_with_what_is_right() -> None:
    """Sizes, a template, or neither."""
    for made in (SPEC, replace(SPEC, sizes=("cpu", "gpu")), replace(SPEC, template="cpu", template_namespace="ns")):
        assert problems_of(made, SIZES) == []


def test_a_size_or_template_that_does_not_exist_is_named_with_its_namespace_and_its_user() -> None:
    """And what to do about it."""
    (size_gone,) = problems_of(replace(SPEC, sizes=("cpu", "gone")), SIZES)
    assert size_gone.startswith("JupyterKernelTemplate gone does not exist in namespace ns")
    assert "JupyterKernelSpec py needs it" in size_gone and size_gone.endswith("take it out of spec.sizes.")
    (template_gone,) = problems_of(replace(SPEC, template="gone"), SIZES)
    assert template_gone.endswith("take it out of spec.template.")


def test_a_template_of_another_namespace_is_not_taken() -> None:
    """Whoever may write kernelspecs in one namespace must not read another's."""
    (found,) = problems_of(spec(image="i", template={"name": "cpu", "namespace": "other"}), SIZES)
    assert "spec.template.namespace is other" in found and "put a copy of JupyterKernelTemplate cpu there" in found


def test_an_image_must_be_named_somewhere() -> None:
    """By the kernelspec, or by the template's kernel container."""
    without = replace(SPEC, image="")
    assert "spec.image is missing; name the image" in problems_of(without, SIZES)[0]
    (found,) = problems_of(
        replace(without, sizes=("cpu", "s")), {**SIZES, "s": templated(containers=[{"name": "x", "image": "i"}])}
    )
    assert "JupyterKernelTemplate cpu has none" in found
    other = templated(containers=[{"name": "log", "image": "i"}, {"name": "kernel"}])
    assert "has none for its kernel container" in problems_of(replace(without, template="s"), {"s": other})[0]


def test_a_language_without_a_default_needs_a_command_of_its_own() -> None:
    """Not ipykernel by mistake, not a launcher that cannot run."""
    assert (
        "spec.command is missing, and language julia has no default"
        in problems_of(spec(language="julia", image="i"), {})[0]
    )
    launched = spec(language="scala", image="i", command=["kubeflow-launcher", "--verbose"])
    assert "spec.command starts kubeflow-launcher" in problems_of(launched, {})[0]
    assert problems_of(spec(language="julia", image="i", command=["julia", "{connection_file}"]), {}) == []


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (size(resources={"memory": "12 GB"}), "spec.size.resources[memory] is '12 GB', which is no quantity"),
        (size(resources={"cpu": "-1"}), "resources[cpu] is '-1'; write a quantity of at least 0"),
        (size(resources={"nvidia.com/gpu": "0.5"}), "devices are given out whole"),
        (size(sharedMemory="lots"), "sharedMemory is 'lots', which is no quantity"),
        (size(sharedMemory="-1Gi"), "at least 0"),
        (size(env=[{"value": "x"}]), "spec.size.env[0].name is missing"),
        (size(volumeMounts=[{"name": "d"}]), "spec.size.volumeMounts[0].mountPath is missing"),
        (size(volumeMounts=[{"name": "d", "mountPath": "/d"}]), "volume d is mounted but not listed"),
        (size(sidecars=[{"name": "kernel"}]), "kernel is the kernel's own"),
        (size(sidecars=[{"name": "a"}], initContainers=[{"name": "a"}]), "are both called a; rename one"),
        (size(resourceClaims=[{"name": "g"}]), "resourceClaims[0] must have one of resourceClaimName and"),
        (templated(containers="kernel"), "spec.template.spec.containers must be a list"),
        (templated(containers=[{}]), "spec.template.spec.containers[0].name is missing"),
        (templated(containers=["kernel"]), "containers[0] must be an object"),
        (templated(containers=[{"name": "a", "env": [{"value": 1}]}]), "containers[0].env[0].name is missing"),
        (templated(containers=[{"name": "a", "resources": {"limits": {"cpu": "x"}}}]), "resources.limits[cpu] is 'x'"),
        (templated(containers=[{"name": "a", "securityContext": True}]), "securityContext must be an object"),
        (templated(nodeSelector=["a"]), "spec.template.spec.nodeSelector must be an object"),
        (templated(tolerations={"key": "a"}), "spec.template.spec.tolerations must be a list"),
        (
            parse_size({"metadata": {"name": "s"}, "spec": {"template": {"spec": ["a"]}}}),
            "spec.template.spec must be an object",
        ),
        (
            parse_size({"metadata": {"name": "s"}, "spec": {"template": {"metadata": {"labels": "a"}}}}),
            "spec.template.metadata.labels must be an object",
        ),
    ],
)
def test_what_is_wrong_with_a_size_is_said_by_object_and_field(made: Size, words: str) -> None:
    """A pod template is free form to the API server, so it is read here."""
    found = wrong(made)
    assert any(text.startswith("JupyterKernelTemplate s: ") and words in text for text in found), found


def test_mounts_of_a_template_may_name_the_volumes_that_every_pod_has() -> None:
    """And those of the size."""
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("home", "connection", "data", "own")]
    template = {"spec": {"containers": [{"name": "main", "volumeMounts": mounts}], "volumes": [{"name": "own"}]}}
    fields = {"volumes": [{"name": "data", "emptyDir": {}}]}
    made = parse_size({"metadata": {"name": "s"}, "spec": {"size": fields, "template": template}})
    assert wrong(made) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("16Gi", 16 * 2**30),
        ("1e3", 1000),
        ("1E", 10**18),
        ("5k", 5000),
        (1.5, 1.5),
        (".5", 0.5),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: object, number: float) -> None:
    """Suffixes of both kinds and exponents."""
    assert parse_quantity(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "12 GB", "1gi", "Gi", "1..2", "0x10", True, None, "1KI", "nan", "inf"])
def test_what_is_no_quantity_is_none(text: object) -> None:
    """No guess."""
    assert parse_quantity(text) is None


def test_half_of_a_memory_limit_is_written_whole() -> None:
    """In the largest unit that fits."""
    assert [half_of(text) for text in ("64Gi", "3Gi", "1G", "1", None)] == ["32Gi", "1536Mi", "500000000", "", ""]


def damaged(source: random.Random, value: Any) -> Any:
    """A JSON value with one of its parts replaced by something else."""
    if isinstance(value, Mapping) and value and source.random() < 0.85:
        key = source.choice(sorted(value))
        return {**value, key: damaged(source, value[key])}
    if isinstance(value, list) and value and source.random() < 0.85:
        index = source.randrange(len(value))
        return [*value[:index], damaged(source, value[index]), *value[index + 1 :]]
    return source.choice(([], {}, ["x"], {"x": 1}, [[]], [None], "x", "", 7, -1, 0.5, True, None, [{"name": {}}]))


@pytest.mark.parametrize("seed", range(400))
def test_a_template_full_of_mistakes_is_either_explained_or_becomes_a_pod(seed: int) -> None:
    """Free form to the API server; nothing in it may end the controller's loop."""
    source = random.Random(seed)
    volumes = [{"name": name, "emptyDir": {}} for name in NAMES]
    more = {"volumes": volumes, "securityContext": {"runAsUser": 1}, "affinity": {}}
    sound = a_size(source).template
    template = {**sound, "spec": {**sound["spec"], **more}}
    for _ in range(source.randrange(1, 4)):
        template = damaged(source, template)
    item = {"metadata": {"name": "s"}, "spec": {"template": template}}
    try:
        made = parse_size(item)
    except InvalidSpecError:
        return
    problems = wrong(made)
    assert all("JupyterKernelTemplate s" in problem for problem in problems)
    if not problems:
        kernel_pod(make_kernel(), 1, "ns", SPEC, made, Home())
