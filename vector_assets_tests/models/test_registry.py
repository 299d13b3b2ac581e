from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vector_assets.demo.model import DESCRIPTION, packaged_model
from vector_assets.errors import ModelError, StorageError
from vector_assets.models import registry as registry_module
from vector_assets.models.artifact import digest, manifest
from vector_assets.models.registry import Registry
from vector_assets.settings import Settings


@pytest.fixture
def registry(home: Settings) -> Registry:
    return Registry(home)


def test_the_packaged_model_is_registered_and_served(registry: Registry) -> None:
    made = registry.register(packaged_model(), description=DESCRIPTION)
    assert (made.version, made.dimension, made.query_prompt, made.description) == ("1", 384, None, DESCRIPTION)
    assert made.digest == digest(manifest(packaged_model()))
    registry.promote(made.version)
    champion = registry.champion()
    assert (champion.digest, champion.uri, champion.aliases) == (made.digest, made.uri, ("champion",))
    folder = registry.materialize(champion)
    assert folder == registry.artifacts / made.digest
    assert manifest(folder) == manifest(packaged_model())


def test_the_same_content_is_one_version(registry: Registry, make_artifact: Callable[[str], Path]) -> None:
    first = registry.register(make_artifact("one"))
    second = registry.register(make_artifact("two"))
    again = registry.register(make_artifact("one"), description="again")
    assert (first.version, second.version) == ("1", "2")
    assert again == first
    assert [version.version for version in registry.versions()] == ["2", "1"]
    assert sorted(path.name for path in registry.artifacts.iterdir()) == sorted(
        [".lock", first.digest, f"{first.digest}.manifest.json", second.digest, f"{second.digest}.manifest.json"]
    )


def test_promote_and_roll_back(registry: Registry, make_artifact: Callable[[str], Path]) -> None:
    old, new = registry.register(make_artifact("old")), registry.register(make_artifact("new"))
    registry.promote(old.version)
    assert registry.promote(new.version, "challenger").aliases == ("challenger",)
    assert registry.champion().digest == old.digest
    registry.promote(new.version)
    assert registry.champion().digest == new.digest
    assert [version.aliases for version in registry.versions()] == [("challenger", "champion"), ()]
    registry.promote(old.version)
    assert registry.champion().digest == old.digest


def test_no_champion_says_what_to_do(registry: Registry, artifact: Path) -> None:
    with pytest.raises(ModelError, match="models promote"):
        registry.champion()
    assert not Path(registry.tracking_uri.removeprefix("sqlite:///")).exists()  # looking makes nothing
    assert registry.alias("challenger") is None
    registry.register(artifact)
    with pytest.raises(ModelError, match="models promote"):
        registry.champion()


def test_an_unknown_version_names_those_that_are_there(registry: Registry, make_artifact: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=r"there are none.*models register"):
        registry.promote("1")
    registry.register(make_artifact("one"))
    registry.register(make_artifact("two"))
    with pytest.raises(ModelError, match=r"no version '7' \(there are: 2, 1\)"):
        registry.promote("7")
    with pytest.raises(ModelError, match="latest"):
        registry.promote("1", "latest")


def test_sqlite_alone_answers_what_mlflow_answers(
    registry: Registry, make_artifact: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompted = make_artifact("prompted")
    (prompted / "config_sentence_transformers.json").write_text('{"prompts": {"query": "q: "}}')
    for number, path in enumerate([make_artifact("one"), prompted]):
        registry.promote(registry.register(path, description=f"number {number}").version, ["champion", "challenger"][number])
    names = ["champion", "challenger", "nobody"]
    quick = [registry.alias(name) for name in names]
    assert quick[1] is not None
    assert quick[1].query_prompt == "q: "
    monkeypatch.setattr(registry_module, "_ALIAS_QUERY", "SELECT a layout of the future")
    assert [registry.alias(name) for name in names] == quick
    Registry(Settings(home=registry.artifacts.parent, model="another")).register(prompted)
    assert registry.versions()[0].version == "2"


QUIET = """
import sys
from pathlib import Path
from vector_assets.models.registry import Registry
from vector_assets.settings import Settings
registry = Registry(Settings(home=Path(sys.argv[1])))
if len(sys.argv) > 2:
    registry.promote(registry.register(Path(sys.argv[2])).version)
else:
    registry.champion()
    assert "mlflow" not in sys.modules and "sqlalchemy" not in sys.modules
"""


def test_quiet_leaves_nothing_behind_and_finds_the_champion_without_mlflow(tmp_path: Path, artifact: Path) -> None:
    (tmp_path / "cwd").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(registry_module.__file__).parents[2])}
    for arguments in ([str(artifact)], []):
        done = subprocess.run(
            [sys.executable, "-c", QUIET, str(tmp_path / "home"), *arguments],
            cwd=tmp_path / "cwd",
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "cwd").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["mlflow.db", "models"]


@pytest.mark.parametrize("what", ["file", "manifest", "gone"])
def test_a_tampered_store_shows_and_registering_again_restores_it(registry: Registry, artifact: Path, what: str) -> None:
    version = registry.register(artifact)
    folder = registry.artifacts / version.digest
    match what:
        case "file":
            (folder / "model.safetensors").write_text("tensorz")
        case "manifest":
            (registry.artifacts / f"{version.digest}.manifest.json").write_text("{}")
        case "gone":
            folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ModelError, match="models register"):
        registry.materialize(version)
    assert registry.register(artifact).version == version.version
    assert manifest(registry.materialize(version)) == manifest(artifact)


def test_a_version_that_somebody_else_made_is_refused(registry: Registry, artifact: Path) -> None:
    from mlflow import MlflowClient

    registry.register(artifact)
    client = MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)
    made = client.create_model_version(registry.model, source="file:///somewhere")
    client.set_registered_model_alias(registry.model, "champion", made.version)
    with pytest.raises(ModelError, match="not made by `vector-assets models register`"):
        registry.champion()
    assert [version.version for version in registry.versions()] == ["1"]


def test_what_is_unsafe_or_no_model_is_not_registered(registry: Registry, artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model directory"):
        registry.register(tmp_path / "nowhere")
    (artifact / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        registry.register(artifact)
    assert registry.versions() == []
    assert not registry.artifacts.exists()


def test_a_full_store_says_so(home: Settings, artifact: Path) -> None:
    (home.home / "models").write_text("a file where the store should be")
    with pytest.raises(StorageError, match="model store"):
        Registry(home).register(artifact)


def test_two_registries_at_once(home: Settings, make_artifact: Callable[[str], Path]) -> None:
    paths = [make_artifact(str(number % 2)) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda path: Registry(home).register(path), paths))
    assert {version.version for version in made} == {"1", "2"}
    assert len({version.digest for version in Registry(home).versions()}) == 2


def test_two_processes_at_once_on_a_new_database(tmp_path: Path, make_artifact: Callable[[str], Path]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(registry_module.__file__).parents[2])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", QUIET, str(tmp_path / "home"), str(make_artifact(name))], env=environment, stderr=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    for process in running:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, b"")
    assert {version.version for version in Registry(Settings(home=tmp_path / "home")).versions()} == {"1", "2"}
