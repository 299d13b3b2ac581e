"""Redaction policies: what counts as personal data, who looks for it, and what replaces it. Frozen, validated models; no I/O.

They are written under `redaction:` in sources.yaml, or in a YAML file that it names. All of a policy is part of the version of
redacted_text: `RedactionPolicy.declared` says it, without places on this machine (models are named by their content, see
`redacted/languages.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vector_assets.fingerprint import version_of
from vector_assets.frozen import Frozen

Checksum = Literal["none", "luhn", "mod97", "iban"]
Engine = Literal["spacy", "transformers", "gliner"]
_ENTITY = r"^[A-Z][A-Z0-9_]{0,49}$"
_LANGUAGE = r"^[a-z]{2,3}$"
_EVERY = "*"
_WEB_MODELS = ("en", "zh")  # spaCy's small models of these are trained on web texts, all others on news


class NlpSpec(Frozen):
    """The model that finds names in one language.

    `model`: of spaCy, an installed package; of transformers and GLiNER, a name in the local cache of Hugging Face; or a folder, which
    starts with `.` or `/` and counts from the file that names it. `labels`: the model's label -> entity, where Presidio has no such pair.
    """

    engine: Engine = "spacy"
    model: str = Field(min_length=1)
    labels: dict[str, str] = Field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """The model's folder, where it is named by its place."""
        return Path(self.model) if self.model.startswith((".", "/")) else None


class Replace(Frozen):
    """`<ENTITY>`."""

    operator: Literal["replace"] = "replace"


class Pseudonym(Frozen):
    """`<ENTITY:KEY:DIGITS>`: the same value is the same pseudonym in every table, and nobody can tell the value without the secret."""

    operator: Literal["pseudonym"]


class Mask(Frozen):
    """Every character is `char` but the last `keep_last`, which stay where the value is at least twice as long."""

    operator: Literal["mask"]
    keep_last: int = Field(default=4, ge=0, le=32)
    char: str = Field(default="*", pattern=r"^[^\w\s<>]$")


Operator = Annotated[Replace | Pseudonym | Mask, Field(discriminator="operator")]


class CustomRecognizer(Frozen):
    """Personal data of one's own: a pattern, or words, that stand for an entity.

    `regex`: searched without regard to case; `.` matches line ends, `^` and `$` match at lines. A text that keeps it busy for 5 s is
    rejected.
    `words`: whole words or phrases, in any case. `score`: of a match of `regex`; `context` words nearby raise it by 0.35, to 0.4 at least.
    `checksum`: over a match's digits (`luhn`) or its letters and digits (`mod97`, ISO 7064; `iban`, the same with the first four moved to
    the end); what fails it is no match, what passes it is sure.
    """

    entity: str = Field(pattern=_ENTITY)
    regex: str | None = Field(default=None, min_length=1, max_length=2_000)
    words: tuple[str, ...] = Field(default=(), max_length=1_000)
    score: float = Field(default=0.5, gt=0, le=1)
    context: tuple[str, ...] = ()
    checksum: Checksum = "none"

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            # Presidio's engine, which knows more than `re`.
            import regex

            try:
                regex.compile(value)
            except regex.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _finds(self) -> Self:
        if (self.regex is None) == (not self.words):
            raise ValueError(f"a recognizer of {self.entity} needs either regex or words")
        if any(not word.strip() for word in self.words):
            raise ValueError(f"an empty word among the words of {self.entity} would be found everywhere")
        if self.words and self.checksum != "none":
            raise ValueError(f"checksum of {self.entity} goes with a regex, not with words")
        return self


def _operator(value: object) -> object:
    return {"operator": value} if isinstance(value, str) else value


def _of_every_language(value: object) -> object:
    return {_EVERY: value} if isinstance(value, dict) and {"engine", "model"} & value.keys() else value


class RedactionPolicy(Frozen):
    """What counts as personal data, and what replaces it.

    Each text is searched in every one of `languages`, and what any of them finds goes. `nlp`: the model of all languages, or of each;
    spaCy's small one by default. `thresholds`: by entity, where they differ from `threshold`. `operators`: by entity; `<ENTITY>` by
    default. Entities of `recognizers` are searched for without being listed. `allow`: exact strings that are never redacted.
    """

    entities: tuple[Annotated[str, Field(pattern=_ENTITY)], ...] = (
        "API_KEY",
        "CREDIT_CARD",
        "CRYPTO",
        "EMAIL_ADDRESS",
        "IBAN_CODE",
        "IP_ADDRESS",
        "LOCATION",
        "MEDICAL_LICENSE",
        "PERSON",
        "PHONE_NUMBER",
        "URL",
        "URL_CREDENTIALS",
        "US_SSN",
    )
    threshold: float = Field(default=0.35, ge=0, le=1)
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    languages: tuple[Annotated[str, Field(pattern=_LANGUAGE)], ...] = Field(default=("en",), min_length=1)
    nlp: Annotated[dict[str, NlpSpec], BeforeValidator(_of_every_language)] = Field(default_factory=dict)
    operators: dict[str, Annotated[Operator, BeforeValidator(_operator)]] = Field(default_factory=dict)
    recognizers: tuple[CustomRecognizer, ...] = ()
    allow: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _older(cls, value: object) -> object:
        """`language` and `nlp_model` are how a policy of one language was written first."""
        if not isinstance(value, dict) or not {"language", "nlp_model"} & value.keys():
            return value
        newer = {name: item for name, item in value.items() if name not in ("language", "nlp_model")}
        if {"languages", "nlp"} & newer.keys():
            raise ValueError("language and nlp_model are older names of languages and nlp: use one or the other")
        if "language" in value:
            newer["languages"] = [value["language"]]
        if "nlp_model" in value:
            newer["nlp"] = {"engine": "spacy", "model": value["nlp_model"]}
        return newer

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        named = dict.fromkeys((*self.entities, *(custom.entity for custom in self.recognizers)))
        object.__setattr__(self, "entities", tuple(named))
        for setting in ("thresholds", "operators"):
            for entity in getattr(self, setting):
                if entity not in named:
                    raise ValueError(f"{setting} names {entity}, which is not among the entities")
        for language in self.nlp:
            if language not in (*self.languages, _EVERY):
                raise ValueError(f"nlp names {language!r}, which is not among the languages")
        return self

    @property
    def models(self) -> Mapping[str, NlpSpec]:
        """The model of each language."""

        def small(language: str) -> NlpSpec:
            return NlpSpec(model=f"{language}_core_{'web' if language in _WEB_MODELS else 'news'}_sm")

        return {language: self.nlp.get(language) or self.nlp.get(_EVERY) or small(language) for language in self.languages}

    @property
    def pseudonyms(self) -> bool:
        """Whether a secret is needed."""
        return any(isinstance(operator, Pseudonym) for operator in self.operators.values())

    def threshold_of(self, entity: str) -> float:
        """The least score at which a finding of this entity counts."""
        return self.thresholds.get(entity, self.threshold)

    @property
    def declared(self) -> str:
        """32 hex digits over all of it but the models. What came later counts only where it is set, so that it changed nobody's version."""
        base = {"entities": sorted(self.entities), "threshold": self.threshold}
        later: dict[str, object] = self.model_dump(mode="json", exclude={*base, "languages", "nlp"}, exclude_defaults=True)
        return version_of("redaction policy", **base, **later)

    def anchored(self, folder: Path) -> Self:
        """With the places of models counted from `folder`."""

        places = {language: folder.absolute() / spec.folder for language, spec in self.nlp.items() if spec.folder}
        moved = {language: self.nlp[language].model_copy(update={"model": str(place)}) for language, place in places.items()}
        return self.model_copy(update={"nlp": {**self.nlp, **moved}})
