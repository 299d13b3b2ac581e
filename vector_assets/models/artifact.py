"""A model artifact is a directory that sentence-transformers can load without running anybody's code, and that is what it was.

`manifest` says what is in it (sha256 per file), `digest` names it by its content, `check` compares it with the manifest it was registered
with. Only kinds of files that such a model needs are let in: weights as safetensors, configuration and vocabulary as text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vector_assets.errors import ModelError

# A list of what is safe, not of what is dangerous: pickles hide behind many suffixes (.bin, .pt, .pkl, .joblib, .npy, …).
SAFE_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".md", ".model", ".tiktoken", ".jinja", ""})
_SAFE_MODULES = "sentence_transformers."


class ModelFacts(NamedTuple):
    """What an artifact's configuration says of it; `dimension` is the length of its vectors."""

    dimension: int
    query_prompt: str | None


def manifest(path: Path) -> dict[str, str]:
    """sha256 (hex) of every file by its relative POSIX path, in order of paths. Raises ModelError for what is unsafe or no model."""
    files = dict(_files(path))
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(
            f"{path} is no model: it holds no *.safetensors; save the model with sentence-transformers, safe_serialization=True"
        )
    if not files.keys() & {"modules.json", "config.json"}:
        raise ModelError(f"{path} is no model: it holds neither modules.json nor config.json; save the model with sentence-transformers")
    for name, file in files.items():
        if name.endswith(".json"):
            _refuse_code(file)
    return {name: _sha256(file) for name, file in files.items()}


def digest(entries: Mapping[str, str]) -> str:
    """The name of an artifact by its content: sha256 (64 hex digits) of its manifest in canonical JSON."""
    canonical = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check(path: Path, entries: Mapping[str, str]) -> None:
    """Raise ModelError, naming a file, where the artifact is not what its manifest says."""
    found = {name: file for name, file in _files(path) if entries.get(name) != _sha256(file)} if path.is_dir() else {}
    missing = sorted(name for name in entries if not (path / name).is_file())
    for names, what in (
        (missing, "is missing"),
        (sorted(found.keys() - entries), "does not belong to the model"),
        (sorted(found.keys() & entries.keys()), "is not what was registered (its sha256 differs)"),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ModelError(
                f"model artifact {path}: {names[0]} {what}{more}; "
                "register the original again with `vector-assets models register`, which restores it"
            )


def facts(path: Path) -> ModelFacts:
    """Read an artifact's dimension and query prompt from its configuration, without loading it. Raises ModelError where it does not say."""
    modules = [path / str(module.get("path", "")) / "config.json" for module in _modules(path)]
    dimensions = (_dimension(_json_object(config)) for config in reversed(modules or [path / "config.json"]) if config.is_file())
    dimension = next((value for value in dimensions if value), None)
    if dimension is None:
        raise ModelError(
            f"{path} does not say how long its vectors are: save the model with sentence-transformers, with its pooling module"
        )
    prompts = _json_object(path / "config_sentence_transformers.json").get("prompts")
    prompt = prompts.get("query") if isinstance(prompts, dict) else None
    return ModelFacts(dimension, prompt if isinstance(prompt, str) and prompt else None)


def _dimension(config: Mapping[str, object]) -> int | None:
    """Length of what a module puts out, from its config.json: Dense, Pooling (one or several modes side by side), or a bare transformer."""
    if isinstance(size := config.get("out_features"), int):
        return size
    size = config.get("embedding_dimension") or config.get("word_embedding_dimension") or config.get("hidden_size")
    if not isinstance(size, int):
        return None
    mode = config.get("pooling_mode")
    modes = (
        len(mode) if isinstance(mode, list) else sum(value is True for name, value in config.items() if name.startswith("pooling_mode_"))
    )
    return size * max(1, modes)


# --- reading ---------------------------------------------------------------------------------------------------------------------------


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """(relative POSIX path, file) in order of paths. Raises ModelError for a file that a safe model does not hold."""
    if not path.is_dir():
        raise ModelError(f"there is no model directory {path}: check the path")
    root = path.resolve()
    found = [
        Path(folder, name)
        for folder, folders, names in os.walk(path)
        for name in names + [f for f in folders if Path(folder, f).is_symlink()]
    ]
    for file in sorted(found, key=lambda file: file.relative_to(path).as_posix()):
        name = file.relative_to(path).as_posix()
        if file.is_symlink() and not (file.resolve().is_relative_to(root) and file.is_file()):
            raise ModelError(f"{path}: {name} is a link that leads out of the model: copy the model with `cp -rL` first")
        if file.suffix not in SAFE_SUFFIXES:
            raise ModelError(
                f"{path}: {name} is a kind of file that can run code or that no safe model needs; remove it (weights: safetensors only)"
            )
        yield name, file


def _refuse_code(file: Path) -> None:
    if "auto_map" in _json_object(file):
        raise ModelError(f"{file}: `auto_map` asks to run code that comes with the model; choose a model that needs none")
    for module in _modules(file.parent) if file.name == "modules.json" else []:
        if not str(module.get("type", "")).startswith(_SAFE_MODULES):
            raise ModelError(
                f"{file}: module {module.get('type')!r} is not part of sentence-transformers; choose a model that needs no code"
            )
        place = PurePosixPath(str(module.get("path", "")))
        if place.is_absolute() or ".." in place.parts:
            raise ModelError(f"{file}: module path {str(place)!r} leads out of the model; get an intact copy of it")


def _modules(path: Path) -> list[dict[str, object]]:
    modules = _json(path / "modules.json")
    return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []


def _json_object(file: Path) -> dict[str, object]:
    value = _json(file)
    return value if isinstance(value, dict) else {}


def _json(file: Path) -> object:
    """The content of a JSON file; None where there is none. Raises ModelError for what is not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{file} is not JSON ({type(error).__name__}): get an intact copy of the model") from None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
