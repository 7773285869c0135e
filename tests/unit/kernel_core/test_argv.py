"""What starts a kernel: its own command, or the one behind a launcher of the original operator."""

from __future__ import annotations

import pytest

from kernel_core.argv import DEFAULT_COMMAND, R_COMMAND, default_command, kernel_argv, launcher_of
from kernel_core.names import CONNECTION_FILE

FLAGS = [
    "--RemoteProcessProxy.kernel-id", "{kernel_id}", "--RemoteProcessProxy.port-range", "{port_range}",
    "--RemoteProcessProxy.response-address", "{response_address}", "--RemoteProcessProxy.public-key", "{public_key}",
]  # fmt: skip
SCRIPTS = "/usr/local/share/jupyter/kernels/python_kubernetes/scripts"
IPYKERNEL = ("python", "-m", "ipykernel_launcher", "-f", CONNECTION_FILE)


@pytest.mark.parametrize(
    "command",
    [
        ["kubeflow-launcher", "--verbose", *FLAGS],
        ["/usr/local/bin/kubeflow-launcher", *FLAGS, "--kernel-template-name", "t"],
        ["python", f"{SCRIPTS}/launch_kubernetes.py", *FLAGS],
        ["/opt/conda/bin/python3.9", "-u", f"{SCRIPTS}/launch_kubernetes.py", *FLAGS],
        ["python", "/usr/local/bin/kernel-launchers/python/scripts/launch_ipykernel.py", *FLAGS],
        ["tini", "-g", "--", "/usr/local/bin/bootstrap-kernel.sh"],
        ["env", "A=b", "kubeflow-launcher", *FLAGS],
        ["/bin/bash", "-c", "exec kubeflow-launcher --verbose"],
        ["bash", "-x", "-lc", "kubeflow-launcher --verbose"],
    ],
)
def test_a_command_that_only_starts_a_launcher_becomes_the_kernel_itself(command: list[str]) -> None:
    """And says so."""
    argv = kernel_argv(command, "Python", {"kernel_id": "k"})
    assert argv.words == IPYKERNEL
    assert "replaced by python" in argv.note


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        ["bash", "-c", "prepare && kubeflow-launcher"],
        ["bash", "-c", "source $(which launch_ipykernel.py)"],
        ["bash", "-c", "an 'open quote"],
        ["python", "-c", "launch_ipykernel.py"],
        ["my-kernel", "launch_ipykernel.py"],
        ["python"],
        ["bash", "-c"],
        [],
    ],
)
def test_a_command_that_does_anything_else_is_left_alone(command: list[str]) -> None:
    """Only known placeholders are filled."""
    assert launcher_of(command) == ""
    expected = tuple(word.replace("{connection_file}", CONNECTION_FILE) for word in command or DEFAULT_COMMAND)
    argv = kernel_argv(command, "python")
    assert (argv.words, argv.note) == (expected, "")


def test_placeholders_of_a_command_are_filled_and_unknown_ones_stay() -> None:
    """Wherever they stand in a word; a JSON word keeps its braces."""
    command = ["run", "--file={connection_file}", "{kernel_id}", "{port_range}", "{resource_dir}", '{"a": {}}', "{0.x}"]
    words = kernel_argv(command, "python", {"kernel_id": "k-1"}).words
    assert words == ("run", f"--file={CONNECTION_FILE}", "k-1", "0..0", "{resource_dir}", '{"a": {}}', "{0.x}")


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    """One pass."""
    assert kernel_argv(["{kernel_id}"], "python", {"kernel_id": "{connection_file}"}).words == ("{connection_file}",)


def test_the_default_follows_the_language() -> None:
    """Python and R have one; any other kernelspec must say how its kernel starts."""
    assert default_command("Python") == DEFAULT_COMMAND
    assert default_command("R") == R_COMMAND == (
        "R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}",
    )  # fmt: skip
    assert default_command("julia") == ()
    assert kernel_argv(["Rscript", "launch_IRkernel.R", *FLAGS], "R").words[-1] == CONNECTION_FILE


def test_what_is_lost_with_a_launcher_is_said() -> None:
    """A Spark context, and options that lead nowhere."""
    flag = "--RemoteProcessProxy.spark-context-initialization-mode"
    assert "Spark" in kernel_argv(["kubeflow-launcher", flag, "lazy"], "python").note
    assert "Spark" in kernel_argv(["kubeflow-launcher", f"{flag}=eager"], "python").note
    assert "Spark" not in kernel_argv(["kubeflow-launcher", flag, "none"], "python").note
    kept = kernel_argv(["my-launcher", *FLAGS], "python", {"kernel_id": "k"})
    assert (kept.words[:3], "lead nowhere" in kept.note) == (("my-launcher", FLAGS[0], "k"), True)
