"""What starts a kernel in its container.

Pure. A command is a kernel's own argv with ``{connection_file}`` in it. Objects of the original operator name a
launcher instead, a program that ran beside the gateway, made the pod and called back from it. Here the pod exists
already and nothing calls back: such a command becomes the one that the launcher would have ended in.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kernel_core.names import CONNECTION_FILE

DEFAULT_COMMAND = ("python", "-m", "ipykernel_launcher", "-f", "{connection_file}")
R_COMMAND = ("R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}")
DEFAULT_COMMANDS: Mapping[str, tuple[str, ...]] = {"python": DEFAULT_COMMAND, "r": R_COMMAND}
"""By language, in lower case."""

LAUNCHERS = frozenset(
    {
        "kubeflow-launcher",
        "launch_kubernetes",
        "launch_custom_resource",
        "launch_ipykernel",
        "launch_irkernel",
        "bootstrap-kernel",
    }
)
"""Programs of the original and of Enterprise Gateway, without their suffix and in lower case."""

LAUNCHER_VALUES: Mapping[str, str] = {
    "connection_file": CONNECTION_FILE,
    "port_range": "0..0",
    "response_address": "",
    "public_key": "",
}
"""What the other placeholders of Enterprise Gateway stand for, where nobody waits to be called back."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_WRAPPER = re.compile(r"(python|pypy)[0-9.]*|rscript|env|tini|exec|bash|sh")
_SHELLS = frozenset({"bash", "sh"})
_SHELL_SYNTAX = re.compile(r"[;&|<>`\n]|\$\(")
_FLAG = "--RemoteProcessProxy."


@dataclass(frozen=True, slots=True)
class Argv:
    """A container's command, and what was changed about it in words ("" if nothing was)."""

    words: tuple[str, ...]
    note: str = ""


def default_command(language: str) -> tuple[str, ...]:
    """The command of a language's usual kernel; empty if there is none that we know."""
    return DEFAULT_COMMANDS.get(language.lower(), ())


def launcher_of(command: Sequence[str]) -> str:
    """The launcher that a command starts and does nothing else, or ""."""
    shell = False
    for index, word in enumerate(command):
        name = word.rpartition("/")[2].lower()
        if re.fullmatch(r"-[a-z]*c", word):
            script = command[index + 1] if shell and index + 1 < len(command) else ""
            if _SHELL_SYNTAX.search(script):
                return ""
            try:
                return launcher_of(shlex.split(script))
            except ValueError:  # an open quote: whatever it is, it is no plain start of a launcher
                return ""
        if word.startswith("-") or _WRAPPER.fullmatch(name) or re.fullmatch(r"[A-Za-z_]\w*=.*", word):
            shell = shell or name in _SHELLS
            continue
        stem = re.sub(r"\.(py|r|sh)$", "", name)
        return word if stem in LAUNCHERS else ""
    return ""


def kernel_argv(command: Sequence[str], language: str, values: Mapping[str, str] | None = None) -> Argv:
    """The words to run for a kernelspec's command; ``values`` fills further placeholders, such as ``kernel_id``.

    A launcher of a language without a default stays as it is: ``problems_of`` says so before anybody runs it.
    """
    known = {**LAUNCHER_VALUES, **(values or {})}
    words, note = tuple(command), ""
    direct = default_command(language)
    launcher = launcher_of(words)
    if not words:
        words = direct
    elif launcher and direct:
        note = f"command {launcher} replaced by {direct[0]}: the kernel runs directly in its pod, without a launcher"
        if _spark_mode(words) not in ("", "none"):
            note += "; no Spark context is made for it"
        words = direct
    elif not launcher and any(word.startswith(_FLAG) for word in words):
        note = f"{_FLAG}* options of {words[0]} lead nowhere: the kernel is not called back"
    return Argv(tuple(_PLACEHOLDER.sub(lambda m: known.get(m[1], m[0]), word) for word in words), note)


def _spark_mode(command: Sequence[str]) -> str:
    flag = f"{_FLAG}spark-context-initialization-mode"
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""
