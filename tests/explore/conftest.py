"""An explorer on the tiny target: weights that load in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.explore.app import explorer
from nla_eval.explore.desk import Desk
from nla_eval.explore.guard import hosts_of
from tests.engines.tiny_pack import write_tiny_pack
from tests.explore.tiny_explorer import ORIGIN, PORT, desk_on


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> RuntimeSettings:
    target, pack = write_tiny_pack(tmp_path_factory.mktemp("tiny"))
    return RuntimeSettings(str(target.path), str(pack.path), "float32")


@pytest.fixture
def desk(tiny: RuntimeSettings) -> Desk:
    return desk_on(tiny)


@pytest.fixture
def page(desk: Desk) -> Iterator[TestClient]:
    """A browser's own page, as far as headers go."""
    with TestClient(explorer(desk, hosts_of(PORT)), ORIGIN, headers={"origin": ORIGIN}) as client:
        yield client
