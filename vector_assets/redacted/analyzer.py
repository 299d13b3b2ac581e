"""The seam to a detector of personal data, and Presidio behind it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import Protocol, Self

from vector_assets.errors import ConfigurationError, PermanentError
from vector_assets.fingerprint import version_of
from vector_assets.redacted import worker
from vector_assets.redacted.findings import Failure, Finding, parts
from vector_assets.redacted.languages import models_of
from vector_assets.redacted.operators import Key, Replacer
from vector_assets.redacted.workers import WorkerPool
from vector_assets.redaction import RedactionPolicy

REDACTOR_VERSION: int = 2
"""Part of `PresidioRedactor.version`: raise it whenever our own rules (recognizers, cutting, overlaps, replacing) change an output."""

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
    """Replaces what Presidio finds, as the policy says. Presidio runs in worker processes, started by the first text that needs them.

    Findings are those of a plain `AnalyzerEngine` with the same models, recognizers, entities and thresholds; see `detector.py` for what is
    left out without changing them. Texts above 20,000 characters are searched in overlapping parts. Close it, or use it as a context
    manager.
    """

    def __init__(self, policy: RedactionPolicy, *, workers: int = 0, secret: Callable[[], bytes] | None = None) -> None:
        """`workers`: processes at most; 0: one per core. `secret`: asked for once, only where a policy has pseudonyms.

        Raises ConfigurationError where a model of the policy is not here, or pseudonyms have no secret.
        """
        self._policy = policy
        self._models = models_of(policy)
        self._key = _key(policy, secret)
        self._replacer = Replacer(policy.operators, self._key)
        self._pool = WorkerPool(partial(worker.start, policy, self._models), size=workers)

    @cached_property
    def version(self) -> str:
        """32 hex digits over the policy, our rules, the models, every library that takes part, and the key of pseudonyms."""
        parts: dict[str, object] = {
            "policy": self._policy.declared,
            "models": {language: model.identity for language, model in self._models.items()},
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        }
        if self._key is not None:
            parts["key"] = self._key.id
        return version_of("redactor", code=REDACTOR_VERSION, **parts)

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        """One answer per text, in order: the redacted text, or why there is none (a PermanentError whose message holds no row text).

        Equal texts are searched once, blank ones not at all. A lone surrogate becomes U+FFFD.

        Raises:
            ConfigurationError: nothing recognizes one of the policy's entities in its language.
            TransientError: workers die while they start.
        """
        unique = [text for text in dict.fromkeys(texts) if text and not text.isspace()]
        redacted = {text: self._redacted(_without_surrogates(text), found) for text, found in zip(unique, self.find(unique), strict=True)}
        return [redacted.get(text, text) for text in texts]

    def find(self, texts: Sequence[str]) -> list[list[Finding] | Failure]:
        """Findings of each text, in order, where they are in the text; or why it could not be searched. For those who measure.

        Raises what `redact` does.
        """
        clean = [_without_surrogates(text) for text in texts]
        spans = [(place, start, end) for place, text in enumerate(clean) for start, end in parts(text)]
        answers = self._pool.find([clean[place][start:end] for place, start, end in spans])
        found: list[list[Finding] | Failure] = [[] for _ in texts]
        for (place, start, _), answer in zip(spans, answers, strict=True):
            known = found[place]
            if isinstance(answer, Failure):
                found[place] = answer
            elif not isinstance(known, Failure):
                known += [finding._replace(start=finding.start + start, end=finding.end + start) for finding in answer]
        return found

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _redacted(self, text: str, found: list[Finding] | Failure) -> str | Exception:
        if isinstance(found, Failure):
            return PermanentError(f"a text could not be searched for personal data: {found.reason}")
        return self._replacer.without(text, found)


def _without_surrogates(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _key(policy: RedactionPolicy, secret: Callable[[], bytes] | None) -> Key | None:
    if not policy.pseudonyms:
        return None
    if secret is None:
        raise ConfigurationError("redaction: pseudonyms need a secret: `vector-assets init` makes one, or set VECTOR_ASSETS_SECRET_FILE")
    return Key.of(secret())
