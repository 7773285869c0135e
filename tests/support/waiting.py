"""Waiting for something to become true, with a deadline and a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def eventually(look: Callable[[], Awaitable[Any]], *, within: float, what: str, every: float = 0.1) -> Any:
    """The first true answer of ``look``, or an AssertionError after ``within`` seconds."""
    answer: Any = None
    try:
        async with asyncio.timeout(within):
            while not (answer := await look()):
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {within} s (last: {answer!r})") from None
    return answer
