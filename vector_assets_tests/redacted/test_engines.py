"""Models of every engine behind the redactor, several languages at once, recognizers of one's own; what is refused. Models are made here,
tiny: nothing is said about the quality of real ones."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from vector_assets.errors import ConfigurationError
from vector_assets.redacted import worker
from vector_assets.redacted.analyzer import PresidioRedactor
from vector_assets.redacted.languages import models_of
from vector_assets.redaction import RedactionPolicy

SECRET = b"a secret for tests, 32 bytes long"


def redact(policy: dict[str, object], *texts: str) -> list[str | Exception]:
    with PresidioRedactor(RedactionPolicy.model_validate(policy), workers=1, secret=lambda: SECRET) as redactor:
        return redactor.redact(texts)


# --- spaCy -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy model that knows two names by heart."""
    import spacy

    nlp = spacy.blank("de")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Brunhilde"}, {"label": "ORT", "pattern": "Kleinkleckersdorf"}])
    folder = tmp_path_factory.mktemp("models") / "german"
    nlp.to_disk(folder)
    return folder


def test_each_text_is_searched_in_every_language(german: Path) -> None:
    text = "My name is John Smith, and Brunhilde waits in Kleinkleckersdorf at brunhilde@example.com"
    both = {
        "languages": ["en", "de"],
        "nlp": {"de": {"model": str(german), "labels": {"ORT": "LOCATION"}}},
        "entities": ["PERSON", "LOCATION"],
    }
    [alone] = redact(both | {"languages": ["de"]}, text)
    [together] = redact(both | {"operators": {"PERSON": "pseudonym"}}, text)
    assert alone == "My name is John Smith, and <PERSON> waits in <LOCATION> at brunhilde@example.com"
    assert isinstance(together, str)
    assert "Smith" not in together
    assert " and <PERSON:" in together
    assert " in <LOCATION>" in together


def test_the_version_follows_a_folders_content_not_its_place(german: Path, tmp_path: Path) -> None:
    def version(folder: Path, **more: object) -> str:
        return PresidioRedactor(RedactionPolicy.model_validate({"nlp": {"model": str(folder)}, **more})).version

    copies = [tmp_path / "one", tmp_path / "two"]
    for folder in copies:
        for path in german.rglob("*"):
            if path.is_file():
                target = folder / path.relative_to(german)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    (copies[1] / "vocab" / "strings.json").write_bytes(b"[]")
    versions = [version(german), *map(version, copies), version(german, languages=["de"])]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_models_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"")
    for nlp, message in [
        ({"model": "en_core_web_xl"}, "the spaCy model 'en_core_web_xl' is not installed: install its package"),
        ({"model": "os.path"}, "is not installed"),
        ({"model": "./nowhere"}, "there is no folder ./nowhere: put the model there"),
        ({"model": str(tmp_path / "empty")}, "is no spaCy model: it has no config.cfg"),
        ({"engine": "transformers", "model": "nobody/nothing"}, "nothing is downloaded here: `hf download nobody/nothing`"),
        ({"engine": "transformers", "model": "no such name!"}, "is not in the local cache"),
        ({"engine": "transformers", "model": str(tmp_path / "empty")}, "there are no safetensors in .*: check that the folder"),
        ({"engine": "transformers", "model": str(pickled)}, "there are no safetensors in .*: convert its weights, which are pickles"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            models_of(RedactionPolicy.model_validate({"nlp": nlp}))
    if importlib.util.find_spec("gliner") is None:
        with pytest.raises(ConfigurationError, match="engine gliner needs gliner, which is not installed: `pip install gliner`"):
            models_of(RedactionPolicy.model_validate({"nlp": {"engine": "gliner", "model": str(pickled)}}))


def test_pseudonyms_need_a_secret() -> None:
    policy = RedactionPolicy.model_validate({"operators": {"PERSON": "pseudonym"}})
    with pytest.raises(ConfigurationError, match="pseudonyms need a secret"):
        PresidioRedactor(policy)
    versions = {PresidioRedactor(policy, secret=lambda secret=secret: secret).version for secret in (SECRET, SECRET, b"another" * 5)}  # type: ignore[misc]
    assert len(versions) == 2


# --- recognizers of one's own ------------------------------------------------------------------------------------------------------------

OWN = {
    "entities": ["EMAIL_ADDRESS"],
    "threshold": 0.4,
    "recognizers": [
        {"entity": "BADGE", "regex": r"\bE\d{5}\b", "score": 0.1, "context": ["badge"]},
        {"entity": "PROJECT", "words": ["Blue Moon", "Blue Moon Two", "C++", "straße"]},
        {"entity": "MEMBER", "regex": r"\b\d{4}-\d{4}\b", "checksum": "luhn"},
        {"entity": "LEI", "regex": r"\b[A-Z0-9]{18}\d\d\b", "checksum": "mod97"},
    ],
    "allow": ["help@example.com"],
}


def test_recognizers_of_ones_own() -> None:
    answers = redact(
        OWN,
        "The badge is E12345.",
        "Part E12345 is out of stock today.",
        "blue\nMOON two, Blue\u200b Moon, bluemoon, Blue Moons, C++; Stra\u00dfe",
        "1234-5674 and 1234-5678",
        "5493001KJTIIGC8Y1R12 and 5493001KJTIIGC8Y1R13",
        "write to help@example.com or to me@example.com",
    )
    assert answers == [
        "The badge is <BADGE>.",
        "Part E12345 is out of stock today.",
        "<PROJECT>, <PROJECT>, bluemoon, Blue Moons, <PROJECT>; <PROJECT>",
        "<MEMBER> and 1234-5678",
        "<LEI> and 5493001KJTIIGC8Y1R13",
        "write to help@example.com or to <EMAIL_ADDRESS>",
    ]


def test_a_pattern_that_explodes_fails_its_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worker._ENVIRONMENT, "REGEX_TIMEOUT_SECONDS", "1")
    policy = {"entities": ["EMAIL_ADDRESS"], "recognizers": [{"entity": "EVIL", "regex": r"(?:(?:a|aa)+)+\d"}]}
    fine, evil = redact(policy, "aaa1 and john@example.com", "a" * 5_000 + "!")
    assert fine == "<EVIL> and <EMAIL_ADDRESS>"
    assert isinstance(evil, Exception)
    assert str(evil) == "a text could not be searched for personal data: a pattern took too long"


# --- transformers and GLiNER -------------------------------------------------------------------------------------------------------------

MAKE_TRANSFORMER = """
import sys
import torch
from pathlib import Path
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast
folder = Path(sys.argv[1])
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "love", "##lace", "met", "in", "paris", ".", "x", "##x"]
(folder / "vocab.txt").write_text("\\n".join(words))
tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32)
labels = ["O", "B-PER", "I-PER", "B-TOWN"]
torch.manual_seed(7)
model = BertForTokenClassification(BertConfig(
    vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=32,
    id2label=dict(enumerate(labels)), label2id={label: at for at, label in enumerate(labels)},
))
with torch.no_grad():  # the attention of random weights, made small enough that the words decide
    for parameter in model.bert.encoder.parameters():
        parameter *= 0.01
    for name in ("position_embeddings", "token_type_embeddings"):
        getattr(model.bert.embeddings, name).weight.zero_()
    for layer in [model.bert.encoder.layer[0].attention.output.LayerNorm, model.bert.encoder.layer[0].output.LayerNorm]:
        layer.weight.fill_(1)
    words_as_seen = model.bert.embeddings.LayerNorm(model.bert.embeddings.word_embeddings.weight)
    model.classifier.bias.copy_(torch.tensor([15.0, 0, 0, 0]))
    model.classifier.weight.zero_()
    for label, word in [("B-PER", "ada"), ("I-PER", "love"), ("I-PER", "##lace"), ("B-TOWN", "paris")]:
        model.classifier.weight[labels.index(label)] += words_as_seen[words.index(word)]
model.save_pretrained(folder, safe_serialization=True)
tokenizer.save_pretrained(folder)
"""


@pytest.mark.slow
def test_a_transformer_finds_names_to_the_end_of_a_text(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MAKE_TRANSFORMER, str(tmp_path)], check=True, capture_output=True)
    policy: dict[str, object] = {
        "nlp": {"engine": "transformers", "model": str(tmp_path), "labels": {"TOWN": "LOCATION"}},
        "entities": ["PERSON", "LOCATION", "EMAIL_ADDRESS"],
    }
    long = "met in . " * 300
    answers = redact(
        policy,
        "Ada Lovelace met ada@example.com in Paris.",
        f"{long} ada {long} in paris",
        "x" * 1_000 + " ada",  # one word of more tokens than the model has positions
        "",
    )
    assert answers[:2] == ["<PERSON> met <EMAIL_ADDRESS> in <LOCATION>.", f"{long} <PERSON> {long} in <LOCATION>"]
    assert answers[2:] == ["x" * 1_000 + " <PERSON>", ""]
    [answer] = redact(policy | {"entities": ["LOCATION"]}, "Ada Lovelace met in Paris.")
    assert answer == "Ada Lovelace met in <LOCATION>."
    with pytest.raises(ConfigurationError, match="nothing recognizes MEDICAL_LICENSES in language 'en'"):
        redact(policy | {"entities": ["MEDICAL_LICENSES"]}, "Ada")


MAKE_GLINER = """
import sys
import torch
from pathlib import Path
from gliner import GLiNER, GLiNERConfig
from transformers import BertConfig, BertModel, BertTokenizerFast
folder = Path(sys.argv[1])
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "love", "##lace", "met", "in", "paris", ".", "person", "town"]
(folder / "vocab.txt").write_text("\\n".join(words))
BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder / "backbone")
torch.manual_seed(7)
BertModel(BertConfig(
    vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=512,
)).save_pretrained(folder / "backbone")
config = GLiNERConfig(model_name=str(folder / "backbone"), hidden_size=32, max_width=4, fine_tune=False, span_mode="markerV0")
GLiNER.from_config(config).save_pretrained(folder / "model", safe_serialization=True)
"""


@pytest.mark.slow
def test_a_gliner_model_is_asked_for_its_labels(tmp_path: Path) -> None:
    pytest.importorskip("gliner", reason="gliner 0.2.29 wants transformers < 5.17, and the lock has a newer one: not among the extras")
    subprocess.run([sys.executable, "-c", MAKE_GLINER, str(tmp_path)], check=True, capture_output=True)
    nlp = {"engine": "gliner", "model": str(tmp_path / "model"), "labels": {"town": "LOCATION"}}
    policy: dict[str, object] = {"nlp": nlp, "entities": ["LOCATION", "EMAIL_ADDRESS"], "threshold": 0.05}
    text = "Ada Lovelace met ada@example.com in Paris."
    [answer] = redact(policy, text)  # of random weights, who knows what: with so low a threshold, something
    assert isinstance(answer, str)
    assert "<LOCATION>" in answer
    assert "ada@" not in answer
    assert redact(policy | {"thresholds": {"LOCATION": 1.0}}, text) == ["Ada Lovelace met <EMAIL_ADDRESS> in Paris."]
