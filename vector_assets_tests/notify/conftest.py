from __future__ import annotations

from collections.abc import Iterator

import pytest

from vector_assets_tests.notify.receiver import LocalReceiver


@pytest.fixture
def receiver() -> Iterator[LocalReceiver]:
    with LocalReceiver().running() as running:
        yield running
