from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vector_assets.demo.model import packaged_model
from vector_assets.errors import ModelError
from vector_assets.models.artifact import ModelFacts, check, digest, facts, manifest


def test_the_packaged_model_is_an_artifact() -> None:
    entries = manifest(packaged_model())
    assert list(entries) == sorted(entries)
    assert {"modules.json", "model.safetensors", "1_Pooling/config.json"} <= entries.keys()
    check(packaged_model(), entries)
    assert facts(packaged_model()) == ModelFacts(384, None)


def test_the_digest_is_pinned(artifact: Path) -> None:
    # Changing it would re-embed every user's data.
    assert digest({"a": "00", "b/c": "ff"}) == "7bd0175790a59d2789701f557f86f03cde4dd425b7735e2e0b49eb8ac69c666b"
    assert digest({"b/c": "ff", "a": "00"}) == digest({"a": "00", "b/c": "ff"})
    assert digest(manifest(artifact)) == digest(manifest(artifact))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pytorch_model.bin", b"", "pytorch_model.bin"),
        ("onnx/model.pt", b"", "onnx/model.pt"),
        ("weights.npy", b"", "weights.npy"),
        ("x.pkl", b"", "x.pkl"),
        ("modeling_own.py", b"", "modeling_own.py"),
        ("config.json", b'{"hidden_size": 3, "auto_map": {"AutoModel": "own.Model"}}', "auto_map"),
        ("tokenizer_config.json", b'{"auto_map": {}}', "auto_map"),
        ("modules.json", b'[{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]', "own.Module"),
        ("modules.json", b'[{"path": "../other", "type": "sentence_transformers.models.Pooling"}]', "leads out"),
        ("config.json", b"{", "not JSON"),
    ],
)
def test_what_could_run_code_is_refused(artifact: Path, name: str, content: bytes, said: str) -> None:
    (artifact / name).parent.mkdir(exist_ok=True)
    (artifact / name).write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(said)):
        manifest(artifact)


def test_a_link_out_of_the_model_is_refused_and_one_inside_is_not(artifact: Path, tmp_path: Path) -> None:
    (artifact / "vocab.txt").symlink_to(artifact / "README.md")
    assert manifest(artifact)["vocab.txt"] == manifest(artifact)["README.md"]
    (tmp_path / "secret.txt").write_text("x")
    (artifact / "secret.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ModelError, match=r"secret\.txt is a link"):
        manifest(artifact)
    (artifact / "secret.txt").unlink()
    (artifact / "folder").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(ModelError, match="folder is a link"):
        manifest(artifact)


def test_no_model_is_refused(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model directory"):
        manifest(tmp_path / "nowhere")
    (artifact / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        manifest(artifact)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "1_Pooling" / "config.json").unlink(), "1_Pooling/config.json is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"other tensors"), "model.safetensors is not what was registered"),
        (lambda folder: (folder / "more.txt").write_text("x"), "more.txt does not belong"),
        (lambda folder: folder.rename(folder.with_name("away")), r"is missing \(and 4 more\)"),
    ],
)
def test_a_change_is_named_with_the_remedy(artifact: Path, change: object, said: str) -> None:
    entries = manifest(artifact)
    check(artifact, entries)
    assert callable(change)
    change(artifact)
    with pytest.raises(ModelError, match=f"{said}.*register the original again"):
        check(artifact, entries)


@pytest.mark.parametrize(
    ("pooling", "dimension"),
    [
        ({"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, 4),
        ({"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, 8),
        ({"embedding_dimension": 4, "pooling_mode": ["cls", "mean"], "include_prompt": True}, 8),
        ({"in_features": 4, "out_features": 2, "bias": True}, 2),
    ],
)
def test_the_dimension_is_that_of_the_last_module_that_says_one(artifact: Path, pooling: dict[str, object], dimension: int) -> None:
    (artifact / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (artifact / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "q: "}}))
    assert facts(artifact) == ModelFacts(dimension, "q: ")


def test_a_model_that_does_not_say_its_dimension_is_refused(artifact: Path) -> None:
    for name in ("1_Pooling/config.json", "config.json"):
        (artifact / name).write_text("{}")
    with pytest.raises(ModelError, match="how long its vectors are"):
        facts(artifact)
