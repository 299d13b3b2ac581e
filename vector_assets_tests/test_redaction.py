"""Redaction policies: written in sources.yaml or in a file of their own, older spellings too; what cannot be meant; versions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from vector_assets.errors import ConfigurationError
from vector_assets.redaction import CustomRecognizer, Mask, NlpSpec, Pseudonym, RedactionPolicy
from vector_assets.sources_file import load_sources

BADGE = CustomRecognizer(entity="BADGE", regex=r"E\d{5}", context=("badge",))
# What can be set beside the models, each away from its default.
CHANGES: dict[str, object] = {
    "entities": ("PERSON",),
    "threshold": 0.5,
    "thresholds": {"URL": 0.9},
    "operators": {"PERSON": "pseudonym"},
    "recognizers": (BADGE,),
    "allow": ("ACME",),
}


def test_a_policy_of_one_language_as_it_was_written_first() -> None:
    assert RedactionPolicy().models == {"en": NlpSpec(model="en_core_web_sm")}
    assert RedactionPolicy(nlp_model="x").models == {"en": NlpSpec(model="x")}  # type: ignore[call-arg]
    assert RedactionPolicy(language="de").models == {"de": NlpSpec(model="de_core_news_sm")}  # type: ignore[call-arg]
    both = RedactionPolicy.model_validate({"language": "de", "nlp_model": "x"})
    assert both == RedactionPolicy.model_validate({"languages": ["de"], "nlp": {"model": "x"}})


def test_each_language_has_its_model() -> None:
    policy = RedactionPolicy.model_validate({"languages": ["en", "de", "fr"], "nlp": {"de": {"engine": "gliner", "model": "./m"}}})
    assert {language: (spec.engine, spec.model) for language, spec in policy.models.items()} == {
        "en": ("spacy", "en_core_web_sm"),
        "de": ("gliner", "./m"),
        "fr": ("spacy", "fr_core_news_sm"),
    }
    one = RedactionPolicy.model_validate({"languages": ["en", "de"], "nlp": {"engine": "transformers", "model": "a/b"}})
    assert one.models == dict.fromkeys(["en", "de"], NlpSpec(engine="transformers", model="a/b"))


def test_what_a_recognizer_finds_need_not_be_listed() -> None:
    policy = RedactionPolicy(entities=("PERSON",), recognizers=(BADGE,), operators={"BADGE": Mask(operator="mask")})
    assert policy.entities == ("PERSON", "BADGE")
    assert not policy.pseudonyms
    assert RedactionPolicy(operators={"PERSON": Pseudonym(operator="pseudonym")}).pseudonyms


def test_every_setting_is_part_of_what_is_declared() -> None:
    declared = {name: RedactionPolicy.model_validate({name: value}).declared for name, value in CHANGES.items()}
    assert CHANGES.keys() == RedactionPolicy.model_fields.keys() - {"languages", "nlp"}, "models are named by their content"
    assert len({RedactionPolicy().declared, *declared.values()}) == 1 + len(CHANGES)
    each = [
        BADGE.model_copy(update=change)
        for change in ({}, {"score": 0.6}, {"context": ()}, {"checksum": "luhn"}, {"regex": "E"}, {"regex": None, "words": ("E",)})
    ]
    assert len({RedactionPolicy(recognizers=(one,)).declared for one in each}) == len(each)
    masks = [Mask(operator="mask"), Mask(operator="mask", keep_last=2), Mask(operator="mask", char="#"), Pseudonym(operator="pseudonym")]
    assert len({RedactionPolicy(operators={"URL": one}).declared for one in masks}) == len(masks)


def test_settings_that_come_later_change_nobodys_version() -> None:
    policy = RedactionPolicy(entities=("PERSON", "URL"))
    assert policy.declared == "128f17e0b240264f8f5e7e0c6f4aaf78", "every user's texts would be redacted and embedded anew"
    assert policy.declared == RedactionPolicy(entities=("URL", "PERSON")).declared


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entities": ["person"]}, "entities.0"),
        ({"languages": []}, "languages"),
        ({"languages": ["English"]}, "languages.0"),
        ({"nlp": {"engine": "stanza", "model": "x"}}, "'spacy', 'transformers' or 'gliner'"),
        ({"nlp": {"engine": "gliner"}}, "model"),
        ({"nlp": {"de": {"model": "x"}}}, "nlp names 'de', which is not among the languages"),
        ({"language": "de", "nlp": {"model": "x"}}, "older names of languages and nlp"),
        ({"thresholds": {"URI": 0.5}}, "thresholds names URI, which is not among the entities"),
        ({"thresholds": {"URL": 2}}, "thresholds.URL"),
        ({"operators": {"PERSONS": "mask"}}, "operators names PERSONS, which is not among the entities"),
        ({"operators": {"PERSON": "hash"}}, "operators.PERSON"),
        ({"operators": {"PERSON": {"operator": "mask", "char": "<"}}}, "char"),
        ({"operators": {"PERSON": {"operator": "mask", "char": "xx"}}}, "char"),
        ({"operators": {"PERSON": {"operator": "replace", "with": "hunter2"}}}, "with"),
        ({"recognizers": [{"entity": "X", "regex": "hunter2("}]}, "not a regular expression: missing )"),
        ({"recognizers": [{"entity": "X"}]}, "a recognizer of X needs either regex or words"),
        ({"recognizers": [{"entity": "X", "regex": "x", "words": ["y"]}]}, "either regex or words"),
        ({"recognizers": [{"entity": "X", "words": ["y", " "]}]}, "an empty word"),
        ({"recognizers": [{"entity": "X", "words": ["y"], "checksum": "luhn"}]}, "goes with a regex"),
        ({"recognizers": [{"entity": "X", "regex": "x", "checksum": "md5"}]}, "checksum"),
        ({"recognizers": [{"entity": "X", "regex": "x", "score": 0}]}, "score"),
        ({"entitys": ["PERSON"]}, "entitys"),
    ],
)
def test_a_policy_that_cannot_be_meant(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        RedactionPolicy.model_validate(changes)
    assert "hunter2" not in str(caught.value)


# --- in files --------------------------------------------------------------------------------------------------------------------------

SOURCES = """
catalogs:
  sample: {engine: duckdb, path: sample.duckdb}
redaction: REDACTION
tables:
  - {table: "sample.s.*", key: [id], text: "{body}", properties: {id: keep}, collection: Things, redaction: strict}
"""
POLICIES = """
strict:
  threshold: 0.2
  languages: [en, de]
  nlp: {de: {model: "./models/de"}, en: {engine: transformers, model: "${MODEL}"}}
"""


def load(folder: Path, redaction: str, policies: str | None = POLICIES) -> dict[str, RedactionPolicy]:
    (folder / "sources.yaml").write_text(SOURCES.replace("REDACTION", redaction))
    if policies is not None:
        (folder / "policies").mkdir()
        (folder / "policies" / "redaction.yaml").write_text(policies)
    return load_sources(folder / "sources.yaml", {"MODEL": "org/ner"}).redaction


def test_policies_in_a_file_of_their_own(tmp_path: Path) -> None:
    policies = load(tmp_path, "policies/redaction.yaml")
    assert policies["default"] == RedactionPolicy()
    assert policies["strict"].threshold == 0.2
    models = policies["strict"].models
    assert (models["de"].model, models["de"].folder) == (str(tmp_path / "policies/models/de"), tmp_path / "policies/models/de")
    assert (models["en"].model, models["en"].folder) == ("org/ner", None)


def test_policies_in_sources_yaml(tmp_path: Path) -> None:
    policies = load(tmp_path, "{strict: {nlp: {model: ./en}}}", None)
    assert policies["strict"].models["en"].folder == tmp_path / "en"


@pytest.mark.parametrize(
    ("redaction", "policies", "message"),
    [
        ("policies/redaction.yaml", None, r"there is no .*policies/redaction\.yaml: redaction: in .*sources\.yaml names it"),
        ("policies/redaction.yaml", "strict: [", r"policies/redaction\.yaml cannot be read as YAML"),
        ("policies/redaction.yaml", "strict: {treshold: 1}", r"policies/redaction\.yaml: strict\.treshold: no such setting"),
        ("policies/redaction.yaml", "strict: {nlp: {model: '${NO}'}}", r"policies/redaction\.yaml uses \$\{NO\}, which is not set"),
        ("policies/redaction.yaml", "- 1", r"policies/redaction\.yaml: .*valid dictionary"),
        ("policies/redaction.yaml", "other: {}", r"sources\.yaml: .*no redaction policy 'strict'"),
        ("{strict: {threshold: 2}}", None, r"sources\.yaml: redaction\.strict\.threshold: "),
    ],
)
def test_a_file_of_policies_that_cannot_be_meant(tmp_path: Path, redaction: str, policies: str | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, redaction, policies)
