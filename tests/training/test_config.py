"""Training configurations: the committed one loads, and a wrong key is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import nla_eval.training.config as config_module
from nla_eval.errors import InputError
from nla_eval.training.config import load_config

SHIPPED = Path(config_module.__file__).parent / "smollm2-135m-l20.yaml"


def test_the_committed_configuration_loads() -> None:
    assert load_config(SHIPPED).layer == 20


@pytest.mark.parametrize(
    ("text", "says"), [("lawyer: 3", "lawyer"), ("layer: many", "layer"), ("a: [", "training config")]
)
def test_a_wrong_configuration_is_named_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        load_config(path)
