"""Presidio, without the work that cannot change a finding. Imported only by worker processes (`worker.py`): it pulls in spaCy and Presidio.

What is left out, and why nothing is lost, is told in `nlp.py` for models of names. Here:

- A recognizer runs only on texts that have what its pattern cannot do without (`relevance.py`).
- Context words only raise scores. They are looked for where a raised score could move a finding over its threshold or before another one
  (`findings.is_settled`).

Texts are searched in their plainer form (`folding.py`); findings are where they are in the original.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import tldextract
import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerRegistry, RecognizerResult
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider
from spacy.tokens import Doc

from vector_assets.errors import ConfigurationError
from vector_assets.redacted import recognizers
from vector_assets.redacted.custom import CustomPattern
from vector_assets.redacted.findings import Candidate, Failure, Finding, is_settled
from vector_assets.redacted.folding import Folded, fold
from vector_assets.redacted.languages import Model
from vector_assets.redacted.nlp import names_in
from vector_assets.redacted.relevance import Traits, needs_of
from vector_assets.redaction import RedactionPolicy

_COMPLAINTS = {"timed out": "a pattern took too long", "prediction failed": "the model failed"}


class Detector:
    """Loaded models and the recognizers that a policy asks for, in each of its languages."""

    def __init__(self, policy: RedactionPolicy, models: Mapping[str, Model]) -> None:
        """Raises ConfigurationError for an entity that nothing here recognizes in any of the policy's languages."""
        # Never from the network or a cache on this machine: e-mail addresses are checked against the suffixes that come with the package.
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())
        self._complaints = _Complaints()
        self._languages = [_Language(language, model, policy) for language, model in models.items()]
        found = {entity for language in self._languages for entity in language.entities}
        if missing := sorted(set(policy.entities) - found):
            languages = ", ".join(map(repr, models))
            raise ConfigurationError(
                f"redaction: nothing recognizes {', '.join(missing)} in language {languages}: check the spelling, or remove it"
            )

    def find(self, texts: Sequence[str]) -> list[list[Finding] | Failure]:
        """Findings of each text at or above the threshold, in no particular order; scores are exact only where they matter."""
        folded = [fold(text) for text in texts]
        answers: list[list[Finding] | Failure] = [[] for _ in texts]
        for language in self._languages:
            with language.forgetting():
                docs = language.docs([view.text for view in folded])
                answers = [self._more(known, language, view, doc) for known, view, doc in zip(answers, folded, docs, strict=True)]
        return answers

    def _more(self, known: list[Finding] | Failure, language: _Language, view: Folded, doc: Doc | None) -> list[Finding] | Failure:
        """What is known of a text, and what one more language finds in it; a failure stays one."""
        if isinstance(known, Failure):
            return known
        found = self._find(language, view, doc)
        return found if isinstance(found, Failure) else [*known, *found]

    def _find(self, language: _Language, view: Folded, doc: Doc | None) -> list[Finding] | Failure:
        self._complaints.seen = None
        try:
            found = language.find(view.text, doc)
        except Exception as error:  # noqa: BLE001  whatever a text provokes in two large libraries is that text's failure, not the batch's
            return Failure(f"Presidio or spaCy raised {type(error).__name__}")  # its message could hold row text
        if self._complaints.seen:  # Presidio goes on without the pattern or the model: personal data could stay
            return Failure(self._complaints.seen)
        return [Finding(*view.span(finding.start, finding.end), finding.entity, finding.score) for finding in found]


class _Language:
    """One language of a policy."""

    def __init__(self, language: str, model: Model, policy: RedactionPolicy) -> None:
        self._language, self._policy = language, policy
        self._allowed = [fold(text).text for text in policy.allow]
        self._least = min(policy.threshold_of(entity) for entity in policy.entities)
        self._nlp, names = names_in(language, model, policy)
        provider = RecognizerRegistryProvider(registry_configuration={"supported_languages": [language]})
        everything = [
            *provider.create_recognizer_registry().recognizers,
            names,
            *recognizers.build(policy, language),
            *(CustomPattern(spec, language) for spec in policy.recognizers),
        ]
        self._registry = _Relevant([one for one in everything if set(one.supported_entities) & set(policy.entities)], language)
        self._analyzer = AnalyzerEngine(
            registry=self._registry,
            nlp_engine=self._nlp,
            supported_languages=[language],
            context_aware_enhancer=_ContextWhereItMatters(policy, self._allowed),
        )

    @property
    def entities(self) -> set[str]:
        """What is recognized."""
        return {entity for recognizer in self._registry.recognizers for entity in recognizer.supported_entities}

    def forgetting(self) -> AbstractContextManager[object]:
        """Documents live no longer than this context."""
        return self._nlp.forgetting()

    def docs(self, texts: Sequence[str]) -> Sequence[Doc | None]:
        """One document per text, or None for each where one of them upset spaCy: `find` lets each answer for itself."""
        try:
            return self._nlp.docs(texts)
        except Exception:  # noqa: BLE001  see above
            return [None] * len(texts)

    def find(self, text: str, doc: Doc | None) -> list[Finding]:
        """Findings in folded text."""
        self._registry.choose(text)
        results = self._analyzer.analyze(
            text,
            language=self._language,
            entities=list(self._policy.entities),
            score_threshold=self._least,
            allow_list=self._allowed,
            nlp_artifacts=self._nlp.artifacts(self._nlp.docs([text])[0] if doc is None else doc),
        )
        asked = self._policy.entities
        return [
            Finding(result.start, result.end, result.entity_type, result.score)
            for result in results
            if result.entity_type in asked and result.score >= self._policy.threshold_of(result.entity_type)
        ]


class _Relevant(RecognizerRegistry):  # type: ignore[misc]
    """Hands out the recognizers that could find something in the text that was chosen last."""

    def __init__(self, recognizers: Sequence[EntityRecognizer], language: str) -> None:
        super().__init__(recognizers=recognizers, supported_languages=[language])
        self._needs = [(recognizer, needs_of(recognizer)) for recognizer in recognizers]
        self._chosen: list[EntityRecognizer] = []

    def choose(self, text: str) -> None:
        """Say what text is searched next."""
        traits = Traits.of(text)
        self._chosen = [recognizer for recognizer, needs in self._needs if needs is None or needs(traits)]

    def get_recognizers(self, *_: object, **__: object) -> list[EntityRecognizer]:
        """Those of the chosen text."""
        return self._chosen


class _Complaints(logging.Handler):
    """Listens to Presidio's log, which is the only place where it says that it gave up on a pattern or a model; prints nothing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: str | None = None
        logger = logging.getLogger("presidio-analyzer")
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.seen = next((meaning for said, meaning in _COMPLAINTS.items() if said in message), self.seen)


class _ContextWhereItMatters(LemmaContextAwareEnhancer):  # type: ignore[misc]
    """Raises scores near context words, but only of texts where a raised score could change what is found."""

    def __init__(self, policy: RedactionPolicy, allowed: Sequence[str]) -> None:
        super().__init__()
        self._policy, self._allowed = policy, frozenset(allowed)

    def enhance_using_context(
        self,
        text: str,
        raw_results: list[RecognizerResult],
        nlp_artifacts: NlpArtifacts,
        recognizers: list[EntityRecognizer],
        context: list[str] | None = None,
    ) -> list[RecognizerResult]:
        with_context = {recognizer.id for recognizer in recognizers if recognizer.context}
        # What is allowed goes at the end, and what hid in it comes out: then scores matter.
        allowed = self._allowed and any(text[result.start : result.end] in self._allowed for result in raw_results)
        candidates = [self._candidate(result, with_context) for result in raw_results]
        if not allowed and is_settled(candidates, self._policy.threshold_of):
            return raw_results
        return super().enhance_using_context(text, raw_results, nlp_artifacts, recognizers, context)  # type: ignore[no-any-return]

    def _candidate(self, result: RecognizerResult, with_context: set[str]) -> Candidate:
        low = high = result.score
        if result.recognition_metadata[RecognizerResult.RECOGNIZER_IDENTIFIER_KEY] in with_context:
            high = min(max(low + self.context_similarity_factor, self.min_score_with_context_similarity), self.MAX_SCORE)
        return Candidate(result.start, result.end, result.entity_type, low, high)
