"""The seam to an embedding model: texts in, unit-free vectors out.

`Encoder` is what the stage and search need; `SentenceTransformerEncoder` is the real one: safetensors only, CPU or CUDA, loaded late.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from vector_assets.embedded.batches import token_batches
from vector_assets.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from torch import Tensor

Vectors = npt.NDArray[np.float32]

# Measured on 2 AVX-512 cores and 22 M parameters: batches that stay in the cache are fastest (256 to 1,536 tokens are equal within 5 %,
# 8,192 run at half the speed).
CPU_BATCH_TOKENS = 1024
CUDA_BATCH_TOKENS = 32_768
UNLIMITED_MODEL_TOKENS = 512
"""Tokens of a passage where a model names no limit of its own."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Encoder(Protocol):
    """One loaded embedding model."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a passage at most, special tokens not counted."""

    @property
    def unit_length(self) -> bool:
        """Whether the model makes vectors of norm 1."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) character offsets of the text's tokens, in order, special tokens left out."""

    def encode(self, passages: Sequence[str], *, exact: bool = False) -> npt.NDArray[np.float32]:
        """Vectors of shape (n, dimension), float32, in the order of the passages. `exact`: each alone, in full precision, for passages
        whose vectors were not as they must be."""

    def encode_query(self, query: str) -> npt.NDArray[np.float32]:
        """The vector of a query, shape (dimension,), with the model's query prompt."""


class _Loaded(NamedTuple):
    model: SentenceTransformer
    tokenizer: Tokenizer  # our own copy, never truncating: the model's is reconfigured by its calls
    dimension: int
    max_tokens: int
    unit_length: bool
    prompts: dict[_Task, str | None]
    cuda: bool


_Task = Literal["document", "query"]


class SentenceTransformerEncoder:
    """A sentence-transformers directory as an `Encoder`: pooling, normalisation and prompts are the model's own.

    On a CPU every core computes its own batches on one thread each, which took half the CPU time of `SentenceTransformer.encode` and does
    not stall when another process wants a core; as a side effect torch runs single-threaded in this process from then on. On CUDA the model
    runs under float16 autocast, in float32 where it is to be exact.

    Thread-safe. Pickles without the loaded model.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        query_prompt: str | None = None,
        token_budget: int | None = None,
    ) -> None:
        """`query_prompt` overrides the model's own; `token_budget` is a batch's size in tokens, padding counted (None: by device)."""
        self.path = path
        self.device = device
        self.query_prompt = query_prompt
        self.token_budget = token_budget
        self._once: _Loaded | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_once", "_lock")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _once=None, _lock=threading.RLock())

    @property
    def dimension(self) -> int:
        """Length of a vector. Loads the model; raises ModelError where it cannot be."""
        return self._loaded.dimension

    @property
    def max_tokens(self) -> int:
        """Tokens of a passage at most, special tokens and the model's document prompt not counted. Loads the model."""
        return self._loaded.max_tokens

    @property
    def unit_length(self) -> bool:
        """Whether the model normalises its vectors, as its last module says. Loads the model."""
        return self._loaded.unit_length

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) character offsets of the text's tokens, in order, special tokens left out. Loads the model."""
        offsets: list[tuple[int, int]] = self._loaded.tokenizer.encode(_well_formed(text), add_special_tokens=False).offsets
        return offsets

    def encode(self, passages: Sequence[str], *, exact: bool = False) -> Vectors:
        """Vectors of shape (n, dimension), float32, in the order of the passages; equal passages are computed once.

        Passages longer than the model's limit are truncated. `exact`: each is a batch of its own, in float32 on a GPU too. What comes out
        is not looked at: that is the caller's. Loads the model.
        """
        texts = [_well_formed(passage) for passage in passages]
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._encode(list(distinct), "document", exact=exact)
        return vectors[[distinct[text] for text in texts]]

    def encode_query(self, query: str) -> Vectors:
        """The vector of a query, shape (dimension,), float32, with the query prompt. Loads the model."""
        text = _well_formed(query)
        vector: Vectors = self._encode([text], "query")[0]
        return vector if np.isfinite(vector).all() else self._encode([text], "query", exact=True)[0]

    # --- batches -----------------------------------------------------------------------------------------------------------------------

    def _encode(self, texts: list[str], task: _Task, *, exact: bool = False) -> Vectors:
        loaded = self._loaded
        vectors = np.empty((len(texts), loaded.dimension), dtype=np.float32)
        lengths = [len(encoding.ids) for encoding in loaded.tokenizer.encode_batch_fast(texts)]
        workers = 1 if loaded.cuda else _cores()
        batches = token_batches(lengths, budget=1 if exact else self._budget(sum(lengths), workers))
        with ThreadPoolExecutor(workers, "encode", initializer=None if loaded.cuda else _compute_alone) as pool:
            pending = [
                (batch, pool.submit(self._forward, self._features([texts[index] for index in batch], task), task, exact=exact))
                for batch in batches
            ]
            for batch, result in pending:
                vectors[batch] = result.result()
        return vectors

    def _budget(self, tokens: int, workers: int) -> int:
        budget = self.token_budget or (CUDA_BATCH_TOKENS if self._loaded.cuda else CPU_BATCH_TOKENS)
        return max(1, min(budget, -(-tokens // workers)))  # a small call is shared out as well

    def _features(self, texts: list[str], task: _Task) -> dict[str, Tensor]:
        with self._lock:  # the model's tokenizer is not thread-safe
            features: dict[str, Tensor] = self._loaded.model.preprocess(texts, prompt=self._loaded.prompts[task], task=task)
        return features

    def _forward(self, features: dict[str, Tensor], task: _Task, *, exact: bool = False) -> Vectors:
        import torch

        model, half = self._loaded.model, self._loaded.cuda and not exact
        with torch.inference_mode(), torch.autocast(model.device.type, dtype=torch.float16, enabled=half):
            features = {name: value.to(model.device) if isinstance(value, torch.Tensor) else value for name, value in features.items()}
            vectors: Vectors = model(features, task=task)["sentence_embedding"].float().cpu().numpy()
        return vectors

    # --- loading -----------------------------------------------------------------------------------------------------------------------

    @property
    def _loaded(self) -> _Loaded:
        with self._lock:
            if self._once is None:
                self._once = self._load()
            return self._once

    def _load(self) -> _Loaded:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported
        import torch
        from safetensors import SafetensorError

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise ModelError(
                "VECTOR_ASSETS_DEVICE is cuda, but torch sees no CUDA device: set it to auto or cpu, or run where there is a GPU"
            )
        try:
            model = _read_model(self.path, device)
            tokenizer = _private_tokenizer(model)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"the model in {self.path} cannot be loaded ({error}): register an intact sentence-transformers model"
            ) from error
        prompts: dict[_Task, str | None] = {
            "document": _prompt(model, "document", "passage", "corpus"),
            "query": _prompt(model, "query") if self.query_prompt is None else self.query_prompt,
        }
        taken = len(tokenizer.encode(prompts["document"] or "").ids)  # special tokens and the prompt
        limit = model.max_seq_length
        if limit is None or limit > 1_000_000:  # what tokenizers say for "none"
            model.max_seq_length = limit = UNLIMITED_MODEL_TOKENS
        return _Loaded(model, tokenizer, model.get_embedding_dimension(), limit - taken, _normalizes(model), prompts, cuda=device == "cuda")


def _read_model(path: Path, device: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    if not path.is_dir():
        raise ModelError(f"there is no model directory {path}: `vector-assets models list` shows what is registered")
    with _no_progress_bars():
        model = SentenceTransformer(
            str(path), device=device, local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    return model.float().eval()


def _normalizes(model: SentenceTransformer) -> bool:
    from sentence_transformers.sentence_transformer.modules import Normalize

    return len(model) > 0 and isinstance(model[-1], Normalize)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _private_tokenizer(model: SentenceTransformer) -> Tokenizer:
    from tokenizers import Tokenizer

    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError("it has no fast tokenizer (tokenizer.json)")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _prompt(model: SentenceTransformer, *names: str) -> str | None:
    """The first of these prompts that the model has, else its default one.

    An empty prompt is none: sentence-transformers fills in `document: ""`, which would hide a model's `passage`.
    """
    prompts: dict[str, str | None] = model.prompts
    candidates = (*names, model.default_prompt_name or "")
    return next((prompts[name] for name in candidates if prompts.get(name)), None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compute_alone() -> None:
    import torch

    torch.set_num_threads(1)


def _well_formed(text: str) -> str:
    """Lone surrogates (which no tokenizer takes) as replacement characters: offsets stay."""
    return _LONE_SURROGATE.sub("\ufffd", text)
