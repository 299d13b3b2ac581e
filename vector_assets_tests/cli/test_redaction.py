"""`redaction evaluate` and `redaction try` over stand-ins."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from vector_assets.cli.app import app
from vector_assets.evaluation.labelled_set import labelled_set
from vector_assets.redacted.findings import Finding
from vector_assets_tests.cli.conftest import StubEngines
from vector_assets_tests.fakes import StubRedactor

LABELS = {text.text: text.labels for text in labelled_set(60)}


class FindingRedactor(StubRedactor):
    """Finds every labelled e-mail address, and nothing else."""

    def find(self, texts):
        return [[Finding(*label, 1.0) for label in LABELS[text] if label.entity == "EMAIL_ADDRESS"] for text in texts]


@pytest.fixture
def measurable(project):
    project.stubs.redactor = FindingRedactor()
    return project


def test_an_evaluation_tells_recall_by_entity_kind_and_disguise(measurable) -> None:
    answer = measurable.run("redaction", "evaluate", "--size", "60", "--json").json()
    assert (answer["policy"], answer["version"], answer["texts"]) == ("default", "1", 60)
    assert answer["entities"]["EMAIL_ADDRESS"]["recall"] == 1.0
    assert answer["entities"]["PERSON"] == {"labels": answer["entities"]["PERSON"]["labels"]} | {
        **dict.fromkeys(("found", "mislabelled", "findings", "right"), 0),
        "recall": 0.0,
        "precision": 1.0,
        "f2": 0.0,
    }
    assert "ORGANIZATION" not in answer["entities"]  # the policy does not name it
    assert {"sentence", "table", "none"} <= set(answer["kinds"])
    assert "none" in answer["disguises"]


def test_people_get_tables(measurable) -> None:
    answer = measurable.run("redaction", "evaluate", "--size", "60")
    assert [word for word in ("EMAIL_ADDRESS", "recall", "precision", "F2", "upper case", "signature") if word not in answer.stdout] == []
    assert "60 texts, policy default" in answer.stderr


def test_a_redactor_that_does_not_tell_and_an_unknown_policy_are_refused(project) -> None:
    assert "does not tell what it finds" in project.run("redaction", "evaluate").sentence
    for command in ("evaluate", "try"):
        assert "there is no redaction policy 'strict' (there are: default)" in project.run("redaction", command, "strict").sentence


def test_a_text_is_shown_as_a_policy_leaves_it(project) -> None:
    def engines(settings):
        return StubEngines(settings, project.stubs)

    result = CliRunner().invoke(app, ["redaction", "try"], obj=engines, input="a secret, [bold]kept[/bold]\nas it is")
    assert result.stdout == "a <1>, [bold]kept[/bold]\nas it is"
