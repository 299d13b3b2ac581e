import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the files of a small model, whose weights are the text given."""

    def make(weights: str) -> Path:
        folder = tmp_path / f"artifact-{weights}"
        files = {
            "model.safetensors": weights,
            "README.md": "a model",
            "config.json": json.dumps({"hidden_size": 3}),
            "modules.json": json.dumps(
                [
                    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                ]
            ),
            "1_Pooling/config.json": json.dumps({"word_embedding_dimension": 3, "pooling_mode_mean_tokens": True}),
        }
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        return folder

    return make


@pytest.fixture
def artifact(make_artifact: Callable[[str], Path]) -> Path:
    return make_artifact("tensors")
