"""The gateway that most tests here stand beside."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.user_server import GatewayThatGoesAway


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayThatGoesAway]:
    """A gateway that is there."""
    stand_in = GatewayThatGoesAway()
    await stand_in.come()
    yield stand_in
    await stand_in.go()
