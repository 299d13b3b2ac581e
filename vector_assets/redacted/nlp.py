"""Models that find names, behind Presidio: spaCy's, and those of transformers and GLiNER. Imported only by worker processes.

What is left out of spaCy's pipeline, and why nothing is lost (tests compare every finding with a plain `AnalyzerEngine`; package
descriptions of 157 characters, 22 tokens, 1 core):

- Named entities need their own component alone: it has its own token vectors and reads nothing from the others but where sentences start,
  which only forbids entities to run across. So it goes first. Where it found an entity of several tokens, the parser says whether a
  sentence starts inside; only then is it run again, behind the parser: 3 texts in 3,000.
- Its transitions are stepped through from Python, all texts of a batch at once: 0.1 ms a text, where spaCy's own loop, which multiplies
  the same matrices one small call at a time, takes 0.75 ms. The token vectors before it take 0.75 ms either way.
- Lemmas (tagger, attribute ruler, lemmatizer: 1 ms, and 0.8 ms of Presidio) are made when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import spacy
from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer.chunkers import BaseTextChunker, TextChunk
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import GLiNERRecognizer, HuggingFaceNerRecognizer, SpacyRecognizer
from spacy.language import Language
from spacy.tokens import Doc

from vector_assets.redacted.findings import parts
from vector_assets.redacted.languages import Model
from vector_assets.redaction import RedactionPolicy

_LEAN_PIPELINE = ["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer", "ner"]
_GLINER_LABELS = {"person": "PERSON", "location": "LOCATION", "organization": "ORGANIZATION"}
_CHUNK = 300  # characters that a transformer reads at once, and by how many they overlap; a token is rarely shorter than two
_CHUNK_OVERLAP = 100
_STRIDE = 14  # tokens that windows overlap by where a chunk is longer than the model; as in Presidio's NerModelConfiguration


class SpacyNames(SpacyNlpEngine):  # type: ignore[misc]
    """spaCy behind Presidio, running only what a text needs."""

    def __init__(self, language: str, model: Model, entities: Collection[str]) -> None:
        """`entities`: those that somebody asks for; others are not handed on."""
        labels = NerModelConfiguration().model_to_presidio_entity_mapping | dict(model.labels)
        configuration = NerModelConfiguration(model_to_presidio_entity_mapping=labels)
        super().__init__(models=[{"lang_code": language, "model_name": model.place}], ner_model_configuration=configuration)
        self._asked = {label for label, entity in labels.items() if entity in entities}
        self.load()

    @staticmethod
    def _download_spacy_model_if_needed(model_name: str) -> None:
        """Never: a model that is missing is an error."""

    def forgetting(self) -> AbstractContextManager[object]:
        """Words first seen inside are forgotten at its end, and its documents with them: spaCy would keep 400 bytes of each for ever."""
        return self._language.memory_zone()  # type: ignore[no-any-return]

    def docs(self, texts: Sequence[str]) -> list[Doc]:
        """One document per text, with the entities that the whole pipeline would find."""
        if not self._lean:
            return list(self._language.pipe(texts))
        docs = [self._language.make_doc(text) for text in texts]
        self._step("ner", docs)
        unsure = [doc for doc in docs if any(len(entity) > 1 for entity in doc.ents)]
        self._step("parser", unsure)
        across = {id(doc) for doc in unsure if _sentence_starts_inside_entity(doc)}
        for place, doc in enumerate(docs):
            if id(doc) in across:
                docs[place] = self._language.make_doc(doc.text)
                self._step("parser", [docs[place]])
                self._step("ner", [docs[place]])
        return docs

    def artifacts(self, doc: Doc) -> NlpArtifacts:
        """What recognizers read of a document."""
        entities = [entity for entity in doc.ents if entity.label_ in self._asked]
        scores = [self.ner_model_configuration.default_score] * len(entities)
        return _Artifacts(self, doc, *self._get_updated_entities(entities, scores))

    def lemmas(self, doc: Doc) -> list[str]:
        """Lemmas of a document's tokens."""
        if self._lean:
            if not doc.has_annotation("DEP"):
                self._step("parser", [doc])  # which leaves the token vectors that the tagger reads, too
            for name in ("tagger", "attribute_ruler", "lemmatizer"):
                doc = self._language.get_pipe(name)(doc)
        return [token.lemma_ for token in doc]

    @cached_property
    def _language(self) -> Language:
        return next(iter(self.nlp.values()))

    @cached_property
    def _lean(self) -> bool:
        if self._language.pipe_names != _LEAN_PIPELINE:
            return False
        components = [self._language.get_pipe(name) for name in ("ner", "parser")]
        listening = any(layer.name == "tok2vec-listener" for layer in components[0].model.walk())
        return not listening and all(component.cfg.get("beam_width", 1) == 1 for component in components)

    def _step(self, name: str, docs: list[Doc]) -> None:
        """What the component's `pipe` does with one batch."""
        if not any(len(doc) for doc in docs):
            return
        component = self._language.get_pipe(name)
        if name == "parser":
            docs = list(self._language.get_pipe("tok2vec").pipe(docs, batch_size=len(docs)))
        model = component.model.predict(docs)
        states = component.moves.init_batch(docs)
        unfinished = [state for state in states if not state.is_final()]
        while unfinished:
            unfinished = component.transition_states(unfinished, model.predict(unfinished))
        component.set_annotations(docs, states)


class Words(SpacyNames):
    """Words alone, for context: names are found by a recognizer of their own. Lemmas are the words themselves."""

    def load(self) -> None:
        """A tokenizer of the language, or spaCy's of any language."""
        [model] = self.models
        try:
            self.nlp = {model["lang_code"]: spacy.blank(model["lang_code"])}
        except ImportError:
            self.nlp = {model["lang_code"]: spacy.blank("xx")}

    def lemmas(self, doc: Doc) -> list[str]:
        """Lower-case words."""
        return [token.lower_ for token in doc]


def _sentence_starts_inside_entity(doc: Doc) -> bool:
    return any(token.is_sent_start for entity in doc.ents for token in entity[1:])


class _Artifacts(NlpArtifacts):  # type: ignore[misc]
    """Presidio's view of a document; lemmas and keywords are made when somebody reads them."""

    def __init__(self, engine: SpacyNames, doc: Doc, entities: list[Any], scores: list[float]) -> None:
        self.nlp_engine, self.tokens, self.entities, self.scores = engine, doc, entities, scores

    @cached_property
    def tokens_indices(self) -> list[int]:
        return [token.idx for token in self.tokens]

    @cached_property
    def lemmas(self) -> list[str]:
        return self.nlp_engine.lemmas(self.tokens)

    @cached_property
    def keywords(self) -> list[str]:
        language = next(iter(self.nlp_engine.nlp))
        return self.set_keywords(self.nlp_engine, self.lemmas, language)  # type: ignore[no-any-return]


# --- models of transformers and GLiNER ---------------------------------------------------------------------------------------------------


class Chunks(BaseTextChunker):  # type: ignore[misc]
    """Chunks that are never longer than they say: Presidio's own run on to the next space, and what is too long for a model is dropped."""

    def chunk(self, text: str) -> list[TextChunk]:
        """Overlapping chunks that cover the text."""
        return [TextChunk(text[start:end], start, end) for start, end in parts(text, characters=_CHUNK, overlap=_CHUNK_OVERLAP)]


class TransformersNames(HuggingFaceNerRecognizer):  # type: ignore[misc]
    """Presidio's recognizer, with a pipeline that reads local safetensors, runs nobody's code, and cuts no text off."""

    def load(self) -> None:
        """Read the model."""
        from transformers import pipeline

        self.ner_pipeline = pipeline(
            self.DEFAULT_HF_TASK,
            model=self.model_name,
            tokenizer=self.tokenizer_name,
            aggregation_strategy=self.aggregation_strategy,
            stride=_STRIDE,
            device=self.device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},  # offline is set for all of a worker
        )


class GlinerNames(GLiNERRecognizer):  # type: ignore[misc]
    """Presidio's recognizer, asked for its own entities only: it would take the names of all others for labels, too."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None) -> list[RecognizerResult]:
        """Findings of those entities that have a label."""
        own = [entity for entity in entities if entity in self.supported_entities]
        return super().analyze(text, own, nlp_artifacts) if own else []


def names_in(language: str, model: Model, policy: RedactionPolicy) -> tuple[SpacyNames, EntityRecognizer]:
    """The engine that Presidio reads a text with, and the recognizer of names."""
    least = min(policy.threshold_of(entity) for entity in policy.entities)
    match model.engine:
        case "spacy":
            engine = SpacyNames(language, model, policy.entities)
            return engine, SpacyRecognizer(supported_language=language, supported_entities=engine.get_supported_entities())
        case "transformers":
            labels = NerModelConfiguration().model_to_presidio_entity_mapping | dict(model.labels)
            recognizer = TransformersNames(
                model_name=model.place,
                label_mapping=labels,
                supported_language=language,
                threshold=least,
                aggregation_strategy="max",  # whole words: with "simple", half a name may stay
                text_chunker=Chunks(),
                device="cpu",
            )
        case "gliner":
            labels = {label: entity for label, entity in (dict(model.labels) or _GLINER_LABELS).items() if entity in policy.entities}
            recognizer = GlinerNames(
                model_name=str(Path(model.place)),
                entity_mapping=labels,
                supported_language=language,
                threshold=least,
                text_chunker=Chunks(),
                map_location="cpu",
                local_files_only=True,
            )
    return Words(language, model, policy.entities), recognizer
