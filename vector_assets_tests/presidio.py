"""Presidio as its users set it up, with a policy's recognizers: what the redactor's findings are held against.

As a program: a question as JSON on stdin (`policy`, `texts`), findings of both as JSON on stdout. A process of its own, since it loads what
nobody else may.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from vector_assets.redacted.findings import Finding
from vector_assets.redacted.folding import fold
from vector_assets.redaction import RedactionPolicy

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

SLICE = 50  # texts that our side gets at a time


def block_torch() -> None:
    """For both sides alike: Presidio imports torch where it is installed, and uses it for nothing here."""
    for name in ("torch", "transformers"):
        sys.modules[name] = None  # type: ignore[assignment]
    os.environ["TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS"] = ""


def plain_engine(policy: RedactionPolicy, language: str = "en") -> AnalyzerEngine:
    """An AnalyzerEngine with spaCy's model, Presidio's own recognizers and those of the policy."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    from vector_assets.redacted import recognizers
    from vector_assets.redacted.custom import CustomPattern
    from vector_assets.redacted.languages import models_of

    nlp = SpacyNlpEngine(models=[{"lang_code": language, "model_name": models_of(policy)[language].place}])
    nlp.load()
    registry = RecognizerRegistryProvider(registry_configuration={"supported_languages": [language]}).create_recognizer_registry()
    registry.add_nlp_recognizer(nlp)
    for recognizer in [*recognizers.build(policy, language), *(CustomPattern(spec, language) for spec in policy.recognizers)]:
        registry.add_recognizer(recognizer)
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[language])


def asked(policy: RedactionPolicy) -> dict[str, object]:
    """What a policy asks of an engine, but for thresholds by entity."""
    least = min(policy.threshold_of(entity) for entity in policy.entities)
    return {"entities": list(policy.entities), "score_threshold": least, "allow_list": list(policy.allow)}


def plain_findings(engine: AnalyzerEngine, policy: RedactionPolicy, text: str, language: str = "en") -> list[Finding]:
    """Findings of a text by itself."""
    view = fold(text)
    results = engine.analyze(view.text, language=language, **asked(policy))
    return [Finding(*view.span(r.start, r.end), r.entity_type, r.score) for r in results if r.score >= policy.threshold_of(r.entity_type)]


def main() -> None:
    from vector_assets.redacted.detector import Detector
    from vector_assets.redacted.languages import models_of

    question = json.load(sys.stdin)
    policy, texts = RedactionPolicy.model_validate(question["policy"]), question["texts"]
    engine = plain_engine(policy)
    plain = [plain_findings(engine, policy, text) for text in texts]
    detector = Detector(policy, models_of(policy))
    ours = [found for at in range(0, len(texts), SLICE) for found in detector.find(texts[at : at + SLICE])]
    json.dump({"plain": plain, "ours": ours, "lean": detector._languages[0]._nlp._lean}, sys.stdout)


if __name__ == "__main__":
    block_torch()
    main()
