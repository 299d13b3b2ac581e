from __future__ import annotations

import json
import pickle
import pydoc_data.topics
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vector_assets.demo.model import packaged_model
from vector_assets.embedded.encoder import SentenceTransformerEncoder
from vector_assets.embedded.passages import split
from vector_assets.errors import ModelError


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(packaged_model(), device="cpu")


def real_texts(count: int) -> list[str]:
    """Distinct paragraphs of Python's help texts, up to 1,000 characters long."""
    paragraphs = (p for body in pydoc_data.topics.topics.values() for p in re.split(r"\n\s*\n", body))
    return list(dict.fromkeys(p[:1000] for p in paragraphs if p.strip()))[:count]


@pytest.fixture(scope="module")
def with_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged model, saved with prompts; the weights are linked, not copied."""
    folder = tmp_path_factory.mktemp("prompted") / "model"
    shutil.copytree(packaged_model(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(packaged_model() / "model.safetensors")
    prompts = {"query": "find: ", "passage": "this passage says: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def test_knows_its_sizes(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.dimension == 384
    assert encoder.max_tokens == 254


def test_vectors_are_those_of_sentence_transformers(encoder: SentenceTransformerEncoder) -> None:
    texts = real_texts(60)
    expected = encoder._loaded.model.encode(texts, show_progress_bar=False)
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_query(texts[0]), expected[0], atol=1e-5)


def test_equal_passages_get_equal_vectors_and_are_computed_once(encoder: SentenceTransformerEncoder) -> None:
    vectors = encoder.encode(["one", "another text", "one", "another text", "one"])
    assert vectors.shape == (5, 384)
    assert (vectors[[2, 4]] == vectors[0]).all()
    assert (vectors[3] == vectors[1]).all()


def test_no_passages_no_vectors(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_spans_are_the_tokens_of_the_text(encoder: SentenceTransformerEncoder) -> None:
    assert [(start, end) for start, end in encoder.spans("Hello, wörld!")] == [(0, 5), (5, 6), (7, 12), (12, 13)]
    assert encoder.spans("") == []
    assert len(encoder.spans("word " * 5000)) == 5000  # not truncated, no warning


def test_lone_surrogates_and_emoji_are_text_too(encoder: SentenceTransformerEncoder) -> None:
    vectors = encoder.encode(["broken \ud800 text", "🎉 שלום", "\x00"])
    assert np.isfinite(vectors).all()
    assert encoder.spans("a \ud800 b")[-1] == (4, 5)


def test_passages_of_a_real_text_fit_the_model(encoder: SentenceTransformerEncoder) -> None:
    text = "\n\n".join(real_texts(400))
    passages = split(text, encoder.spans(text), max_tokens=encoder.max_tokens, overlap_tokens=32)
    counts = [len(encoder.spans(passage)) for passage in passages]
    assert max(counts) <= encoder.max_tokens
    assert np.mean(counts) > 0.75 * encoder.max_tokens
    assert sum(counts) >= len(encoder.spans(text))


def test_many_threads_may_share_it(encoder: SentenceTransformerEncoder) -> None:
    texts = real_texts(24)
    expected = encoder.encode(texts)
    start = threading.Barrier(4)

    def work(first: int) -> np.ndarray:
        start.wait()
        [encoder.spans(text) for text in texts]
        return encoder.encode(texts[first:])

    with ThreadPoolExecutor(4) as pool:
        for first, vectors in enumerate(pool.map(work, range(4))):
            np.testing.assert_allclose(vectors, expected[first:], atol=1e-5)


def test_pickles_without_the_model(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.dimension == 384
    data = pickle.dumps(encoder)
    assert len(data) < 1000
    assert pickle.loads(data).path == encoder.path


def test_prompts_are_the_models_own(encoder: SentenceTransformerEncoder, with_prompts: Path) -> None:
    prompted = SentenceTransformerEncoder(with_prompts, device="cpu")
    np.testing.assert_allclose(prompted.encode_query("cats"), encoder.encode(["find: cats"])[0], atol=1e-5)
    np.testing.assert_allclose(prompted.encode(["cats"]), encoder.encode(["this passage says: cats"]), atol=1e-5)
    assert prompted.max_tokens == encoder.max_tokens - len(encoder.spans("this passage says: "))
    other = SentenceTransformerEncoder(with_prompts, device="cpu", query_prompt="search ")
    np.testing.assert_allclose(other.encode_query("cats"), encoder.encode(["search cats"])[0], atol=1e-5)


def test_exact_is_one_at_a_time_and_agrees(encoder: SentenceTransformerEncoder, with_prompts: Path) -> None:
    alone = SentenceTransformerEncoder(with_prompts, device="cpu")
    sizes: list[int] = []
    alone._loaded.model.register_forward_hook(lambda _, args, __: sizes.append(len(args[0]["input_ids"])))
    texts = ["a dragon", "a griffin", "a cat and a dog", "a dragon"]
    np.testing.assert_allclose(alone.encode(texts, exact=True), alone.encode(texts), atol=1e-5)
    assert sizes[:3] == [1, 1, 1]


def test_a_query_that_is_not_finite_is_tried_exactly(with_prompts: Path) -> None:
    import torch

    broken = SentenceTransformerEncoder(with_prompts, device="cpu")
    calls: list[int] = []

    def poisoned(_: torch.nn.Module, args: tuple[dict[str, torch.Tensor]], out: dict[str, torch.Tensor]) -> None:
        calls.append(len(args[0]["input_ids"]))
        if len(calls) == 1:
            out["sentence_embedding"][:] = torch.nan

    broken._loaded.model.register_forward_hook(poisoned)
    assert np.isfinite(broken.encode_query("a griffin")).all()
    assert calls == [1, 1]


def test_it_knows_whether_its_vectors_have_norm_one(encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    assert encoder.unit_length
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(["a cat"]), axis=1), 1, atol=1e-5)
    folder = tmp_path / "model"
    shutil.copytree(packaged_model(), folder)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([module for module in modules if not module["type"].endswith("Normalize")]))
    longer = SentenceTransformerEncoder(folder, device="cpu")
    assert not longer.unit_length
    assert abs(float(np.linalg.norm(longer.encode(["a cat"]))) - 1) > 0.1


@pytest.mark.parametrize("damage", ["missing", "weights", "garbage", "pickle"])
def test_a_model_that_cannot_be_loaded_says_which(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if damage != "missing":
        shutil.copytree(packaged_model(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    if damage == "garbage":
        (folder / "model.safetensors").write_bytes(b"no tensors at all")
    if damage == "pickle":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=re.escape(str(folder))):
        _ = SentenceTransformerEncoder(folder, device="cpu").dimension


def test_cuda_that_is_not_there_is_said_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="VECTOR_ASSETS_DEVICE"):
        _ = SentenceTransformerEncoder(packaged_model(), device="cuda").dimension


def test_cuda_agrees_with_the_cpu(encoder: SentenceTransformerEncoder) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: runs where torch.cuda.is_available()")
    texts = real_texts(200)
    cosine = (SentenceTransformerEncoder(packaged_model(), device="cuda").encode(texts) * encoder.encode(texts)).sum(axis=1)
    assert cosine.min() >= 0.999


LOADS = """
import json, os, socket, sys
def refuse(*args): raise AssertionError("network")
socket.socket.connect = refuse
os.environ.pop("HF_HUB_OFFLINE", None)
from pathlib import Path
from vector_assets.embedded.encoder import SentenceTransformerEncoder
early = sorted({"torch", "transformers", "sentence_transformers", "tokenizers"} & set(sys.modules))
encoder = SentenceTransformerEncoder(Path(sys.argv[1]), device="cpu")
encoder.encode(["hello"])
print(json.dumps([early, sorted({"tensorflow", "jax", "flax", "onnxruntime", "datasets"} & set(sys.modules))]))
"""


def test_loads_late_quietly_and_without_a_network() -> None:
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", LOADS, str(packaged_model())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], []]
    assert done.stderr == ""
