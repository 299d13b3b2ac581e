"""The gate on recall: a policy, a model or a library that finds less than before must not publish.

How it is wired (the stage knows nothing of evaluations; `pipeline.py` hands it a function):

    recall = recall_of(redactor, policy, settings.storage)            # seconds, once per redactor.version; then a small read
    result = judge_recall(judge, recall, published.numbers)           # numbers: Statistics.numbers of what is published, {} at first
    Statistics(numbers=recall.numbers)                                # carried in the history of the version, for the next comparison

`recall_audit` does the three in one.
"""

from __future__ import annotations

import importlib.metadata
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypedDict

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult, Figure
from vector_assets.checks.statistics import Statistics
from vector_assets.evaluation.labelled_set import SET_VERSION, labelled_set
from vector_assets.evaluation.measure import Finds, measured
from vector_assets.evaluation.scoring import Score
from vector_assets.reconcile.audit import Audit
from vector_assets.reconcile.store import open_store, store_errors
from vector_assets.redaction import RedactionPolicy

CHECK = "redaction_recall"
TEXTS = 400
"""Texts that the check looks at: 4 to 10 s on two cores, and about 20 labels or more of every entity."""

NAMES_FLOOR: Mapping[str, float] = {"LOCATION": 0.55, "ORGANIZATION": 0.61, "PERSON": 0.64}
"""Least recall of what only a model can find: the baseline of spaCy's small English model on this set (43 of 73 places, 26 of 39
companies, 139 of 210 people) less at least two labels each: a new patch version of spaCy rounds some score another way, and must not keep
every table of everybody from being published. Asked for where a policy searches in English, the language of most of the set, and names
both PERSON and LOCATION: models take one for the other, so what covers both misses less (LOCATION alone: 0.41 instead of 0.59)."""

FAKER = "40.54.0"
OTHER_TEXTS = 0.12
"""The floors were measured with this Faker. Another one makes other names: they are allowed to be as much harder as chance makes them, two
standard errors of 73 places."""

LOSS, LOST = 0.02, 3
"""Of recall on an entity, from what is published, and of labels: less is an accident of a library's new version."""
_PREFIX, _TEXTS = "recall_", "labelled_texts"


class _Kept(TypedDict):
    """An evaluation as it is stored."""

    asked: dict[str, int | str]
    scores: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Recall:
    """What a redactor finds of the labelled set. `scores`: by entity, of those that its policy names. `texts`: tells one set of texts from
    another. `baseline`: whether `NAMES_FLOOR` speaks of such a policy. `slack`: how far below it may be."""

    scores: Mapping[str, Score]
    texts: int = 0
    baseline: bool = True
    slack: float = 0.0

    @property
    def numbers(self) -> dict[str, float]:
        """`recall_<ENTITY>` of each entity that has labels, as statistics carry them, and which texts they were."""
        recalls = {f"{_PREFIX}{entity}": round(score.recall, 4) for entity, score in self.scores.items() if score.labels}
        return {**recalls, _TEXTS: float(self.texts)}


def recall_of(redactor: object, policy: RedactionPolicy, storage: str) -> Recall | None:
    """The recall of a redactor, measured once per version of it and kept below `<storage>/evaluations/`. None where it does not say what it
    finds (another deployment's own redactor).

    Raises StorageError, and what searching raises.
    """
    if not isinstance(redactor, Finds):
        return None
    asked: dict[str, int | str] = {"set": SET_VERSION, "texts": TEXTS, "faker": importlib.metadata.version("faker")}
    path = f"evaluations/{redactor.version}.json"
    known = _read(storage, path)
    if known is None or known["asked"] != asked:
        scores = {entity: asdict(score) for entity, score in measured(redactor, policy.entities, labelled_set(TEXTS)).entities.items()}
        known = _Kept(asked=asked, scores=scores)
        _write(storage, path, known)
    return Recall(
        {entity: Score(**score) for entity, score in known["scores"].items()},
        texts=zlib.crc32(json.dumps(asked, sort_keys=True).encode()),
        baseline="en" in policy.languages and {"PERSON", "LOCATION"} <= set(policy.entities),
        slack=0.0 if asked["faker"] == FAKER else OTHER_TEXTS,
    )


def judge_recall(judge: Judge, now: Recall | None, before: Mapping[str, float]) -> CheckResult:
    """`redaction_recall`: blocks where a formatted identifier is found less often than the check's threshold, a name less often than its
    floor, or any entity 0.02 (and three labels) less often than in what is published, unless that was measured on other texts. Entities
    that the policy does not name are not judged; that one was taken out of it is a warning.

    Args:
        judge: thresholds and history.
        now: the redactor of this version; None: not measured.
        before: `Recall.numbers` of what is published, or all its statistics.
    """
    least = judge.thresholds.bounds(CHECK).block
    if now is None:
        return CheckResult(CHECK, passed=True, said="not measured: this redactor does not tell what it finds")
    numbers = {name: recall for name, recall in now.numbers.items() if name.startswith(_PREFIX)}
    comparable = before.get(_TEXTS) == now.texts
    wrong = [] if least is None else _lacking(now, least) + _lost(now, before if comparable else {})
    gone = sorted(name.removeprefix(_PREFIX) for name in before if name.startswith(_PREFIX) and name not in numbers)
    said = wrong + ([f"no longer redacted: {', '.join(gone)}"] if gone else [])
    worst = min(numbers, key=lambda name: (numbers[name], name), default="")
    summary = f"least recall: {worst.removeprefix(_PREFIX)} {numbers[worst]:.3f}" if worst else "the policy names nothing that is measured"
    limit = f"identifiers block below {least:g}, a loss above {LOSS:g}" if least is not None else "no limit"
    figures: dict[str, Figure] = {name.removeprefix(_PREFIX): recall for name, recall in numbers.items()}
    return CheckResult(
        name=CHECK,
        passed=not said,
        said=f"{'; '.join(said) or summary} ({limit})",
        blocks=bool(wrong),
        figures=figures,
        history=judge.past(numbers),
    )


def recall_audit(redactor: object, policy: RedactionPolicy, storage: str, judge: Judge) -> Audit:
    """The check and the numbers that the next version is compared with; what is published is the last of the judge's history."""
    recall = recall_of(redactor, policy, storage)
    before = judge.history[-1].numbers if judge.history else {}
    return Audit(Statistics(numbers=recall.numbers if recall else {}), (judge_recall(judge, recall, before),))


def _lacking(now: Recall, least: float) -> list[str]:
    floors = {entity: NAMES_FLOOR[entity] - now.slack if entity in NAMES_FLOOR else least for entity in now.scores}
    return [
        f"{entity}: {score.found} of {score.labels} found, recall {score.recall:.3f} below {floors[entity]:g}"
        for entity, score in now.scores.items()
        if score.labels and score.recall < floors[entity] and (now.baseline or entity not in NAMES_FLOOR)
    ]


def _lost(now: Recall, before: Mapping[str, float]) -> list[str]:
    losses = {entity: before.get(_PREFIX + entity, 0.0) - score.recall for entity, score in now.scores.items() if score.labels}
    return [
        f"{entity}: recall {now.scores[entity].recall:.3f}, and {before[_PREFIX + entity]:.3f} in what is published"
        for entity, loss in losses.items()
        if loss > LOSS and round(loss * now.scores[entity].labels) >= LOST
    ]


def _read(storage: str, path: str) -> _Kept | None:
    import obstore
    from obstore.exceptions import NotFoundError

    with store_errors(f"{storage}/{path}"):
        try:
            kept = json.loads(bytes(obstore.get(open_store(storage), path).bytes()))
            return _Kept(asked=kept["asked"], scores=kept["scores"])
        except (NotFoundError, FileNotFoundError):
            return None
        except (ValueError, TypeError, KeyError):  # somebody else wrote there: measured again, and overwritten
            return None


def _write(storage: str, path: str, kept: _Kept) -> None:
    import obstore

    with store_errors(f"{storage}/{path}"):
        obstore.put(open_store(storage), path, json.dumps(kept, indent=1).encode())
