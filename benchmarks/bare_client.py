"""Asks a bare kernel one question, with nothing between: runs in the gateway's environment, which has ZMQ.

Reads one JSON line for each kernel (address and connection file) and writes a line when it has answered.
"""

from __future__ import annotations

import json
import sys
import time

import zmq
from jupyter_client.session import Session


def ask(info: dict[str, object]) -> None:
    """Ask for the info until the kernel answers, then have it run ``1``."""
    session = Session(key=str(info["key"]).encode())
    context = zmq.Context.instance()
    shell = context.socket(zmq.DEALER)
    shell.linger = 0
    shell.setsockopt(zmq.RECONNECT_IVL, 5)
    shell.connect(f"tcp://{info['address']}:{info['shell_port']}")
    for kind, content in (("kernel_info_request", {}), ("execute_request", {"code": "1", "silent": False})):
        session.send(shell, kind, content)
        if not shell.poll(30000):
            raise TimeoutError(f"{kind}: no reply within 30 s")
        shell.recv_multipart()
    shell.close()


def main() -> None:
    """Serve lines until the end of input."""
    for line in sys.stdin:
        started = time.monotonic()
        ask(json.loads(line))
        print(time.monotonic() - started, flush=True)


if __name__ == "__main__":
    main()
