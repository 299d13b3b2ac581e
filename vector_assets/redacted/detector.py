"""Presidio, without the work that cannot change a finding. Imported only by worker processes (`worker.py`): it pulls in spaCy and Presidio.

What is left out, and why nothing is lost (tests compare every finding with a plain `AnalyzerEngine`; 39 tokens a text, 1 core):

- Of the pipeline's 5.5 ms, named entities need 2.5: spaCy's recognizer has its own token vectors and reads nothing from the other
  components but where sentences start, which only forbids entities to run across. So it goes first and alone. Where it found an entity of
  several tokens, the parser (1.3 ms) says whether a sentence starts inside; only then is it run again, behind the parser: 3 texts in 3,000.
- Lemmas (tagger, attribute ruler, lemmatizer: 1 ms, and 0.8 ms of Presidio) only raise scores near context words. They are made where a
  raised score could move a finding over the threshold or before another one (`findings.is_settled`).
- The phone recognizer (0.7 ms: eight regions in turn) runs where there is a digit.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import tldextract
import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerResult
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer
from spacy.language import Language
from spacy.tokens import Doc

from vector_assets.errors import ConfigurationError
from vector_assets.redacted.findings import Candidate, Failure, Finding, is_settled
from vector_assets.tables import RedactionPolicy

_LEAN_PIPELINE = ["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer", "ner"]
_DIGIT = re.compile(r"\d")


class Detector:
    """One loaded NLP model and the recognizers that a policy asks for."""

    def __init__(self, policy: RedactionPolicy, model: str) -> None:
        """Raises ConfigurationError for an entity that nothing here recognizes in the policy's language."""
        # Never from the network or a cache on this machine: e-mail addresses are checked against the suffixes that come with the package.
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())
        self._policy = policy
        self._timeouts = _Timeouts()
        self._nlp = _LeanSpacy(models=[{"lang_code": policy.language, "model_name": model}])
        self._analyzer = AnalyzerEngine(
            nlp_engine=self._nlp, supported_languages=[policy.language], context_aware_enhancer=_ContextWhereItMatters(policy.threshold)
        )
        self._analyzer.registry.recognizers = [
            recognizer for recognizer in self._analyzer.registry.recognizers if set(recognizer.supported_entities) & set(policy.entities)
        ]
        found = {entity for recognizer in self._analyzer.registry.recognizers for entity in recognizer.supported_entities}
        if missing := sorted(set(policy.entities) - found):
            raise ConfigurationError(
                f"redaction: nothing recognizes {', '.join(missing)} in language {policy.language!r}: check the spelling, or remove it"
            )
        for recognizer in self._analyzer.registry.recognizers:
            if type(recognizer) is PhoneRecognizer:
                recognizer.analyze = _where_digits(recognizer.analyze)

    def find(self, texts: Sequence[str]) -> list[list[Finding] | Failure]:
        """Findings of each text at or above the threshold, in no particular order; scores are exact only where they matter."""
        try:
            docs: Sequence[Doc | None] = self._nlp.docs(texts)
        except Exception:  # noqa: BLE001  one text of the batch upset spaCy; below, each answers for itself
            docs = [None] * len(texts)
        return [self._find(text, doc) for text, doc in zip(texts, docs, strict=True)]

    def _find(self, text: str, doc: Doc | None) -> list[Finding] | Failure:
        self._timeouts.seen = False
        try:
            results = self._analyzer.analyze(
                text,
                language=self._policy.language,
                entities=sorted(self._policy.entities),
                score_threshold=self._policy.threshold,
                nlp_artifacts=self._nlp.artifacts(doc or self._nlp.docs([text])[0]),
            )
        except Exception as error:  # noqa: BLE001  whatever a text provokes in two large libraries is that text's failure, not the batch's
            return Failure(f"Presidio or spaCy raised {type(error).__name__}")  # its message could hold row text
        if self._timeouts.seen:  # Presidio goes on without the pattern: personal data could stay
            return Failure("a pattern took too long")
        return [Finding(result.start, result.end, result.entity_type, result.score) for result in results]


class _Timeouts(logging.Handler):
    """Listens to Presidio's log, which is the only place where it says that it gave up on a pattern; prints nothing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = False
        logger = logging.getLogger("presidio-analyzer")
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        self.seen = self.seen or "timed out" in record.getMessage()


class _LeanSpacy(SpacyNlpEngine):  # type: ignore[misc]
    """spaCy behind Presidio, running only what a text needs."""

    @staticmethod
    def _download_spacy_model_if_needed(model_name: str) -> None:
        """Never: a model that is missing is an error."""

    def docs(self, texts: Sequence[str]) -> list[Doc]:
        """One document per text, with the entities that the whole pipeline would find."""
        if not self._lean:
            return list(self._language.pipe(texts))
        docs = self._run([self._language.make_doc(text) for text in texts], "ner")
        unsure = [doc for doc in docs if any(len(entity) > 1 for entity in doc.ents)]
        across = {id(doc) for doc in self._run(unsure, "tok2vec", "parser") if _sentence_starts_inside_entity(doc)}
        for place, doc in enumerate(docs):
            if id(doc) in across:
                [docs[place]] = self._run([self._language.make_doc(doc.text)], "tok2vec", "parser", "ner")
        return docs

    def artifacts(self, doc: Doc) -> _Artifacts:
        """What recognizers read of a document."""
        return _Artifacts(self, doc, *self._get_updated_entities(self._get_entities(doc), self._get_scores_for_entities(doc)))

    def lemmas(self, doc: Doc) -> list[str]:
        """Lemmas of a document's tokens."""
        if self._lean:
            self._run([doc], *(name for name in _LEAN_PIPELINE[:-1] if name not in ("tok2vec", "parser") or not doc.has_annotation("DEP")))
        return [token.lemma_ for token in doc]

    @cached_property
    def _language(self) -> Language:
        return next(iter(self.nlp.values()))

    @cached_property
    def _lean(self) -> bool:
        if self._language.pipe_names != _LEAN_PIPELINE:
            return False
        return all(layer.name != "tok2vec-listener" for layer in self._language.get_pipe("ner").model.walk())

    def _run(self, docs: list[Doc], *components: str) -> list[Doc]:
        for name in components:
            # spaCy parses a quarter of its batch size at once.
            docs = list(self._language.get_pipe(name).pipe(docs, batch_size=4 * max(1, len(docs))))
        return docs


def _sentence_starts_inside_entity(doc: Doc) -> bool:
    return any(token.is_sent_start for entity in doc.ents for token in entity[1:])


class _Artifacts(NlpArtifacts):  # type: ignore[misc]
    """Presidio's view of a document; lemmas and keywords are made when somebody reads them."""

    def __init__(self, engine: _LeanSpacy, doc: Doc, entities: list[Any], scores: list[float]) -> None:
        self.nlp_engine, self.tokens, self.entities, self.scores = engine, doc, entities, scores
        self.tokens_indices = [token.idx for token in doc]

    @cached_property
    def lemmas(self) -> list[str]:
        return self.nlp_engine.lemmas(self.tokens)

    @cached_property
    def keywords(self) -> list[str]:
        language = next(iter(self.nlp_engine.nlp))
        return self.set_keywords(self.nlp_engine, self.lemmas, language)  # type: ignore[no-any-return]


class _ContextWhereItMatters(LemmaContextAwareEnhancer):  # type: ignore[misc]
    """Raises scores near context words, but only of texts where a raised score could change what is found."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self._threshold = threshold

    def enhance_using_context(
        self,
        text: str,
        raw_results: list[RecognizerResult],
        nlp_artifacts: NlpArtifacts,
        recognizers: list[EntityRecognizer],
        context: list[str] | None = None,
    ) -> list[RecognizerResult]:
        with_context = {recognizer.id for recognizer in recognizers if recognizer.context}
        if is_settled([self._candidate(result, with_context) for result in raw_results], self._threshold):
            return raw_results
        return super().enhance_using_context(text, raw_results, nlp_artifacts, recognizers, context)  # type: ignore[no-any-return]

    def _candidate(self, result: RecognizerResult, with_context: set[str]) -> Candidate:
        low = high = result.score
        if result.recognition_metadata[RecognizerResult.RECOGNIZER_IDENTIFIER_KEY] in with_context:
            high = min(max(low + self.context_similarity_factor, self.min_score_with_context_similarity), self.MAX_SCORE)
        return Candidate(result.start, result.end, result.entity_type, low, high)


def _where_digits(analyze: Callable[..., list[RecognizerResult]]) -> Callable[..., list[RecognizerResult]]:
    def guarded(text: str, *args: Any, **kwargs: Any) -> list[RecognizerResult]:
        return analyze(text, *args, **kwargs) if _DIGIT.search(text) else []

    return guarded
