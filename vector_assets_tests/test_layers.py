"""The rules of design.md, section 7, read from the source: who may import whom, what loads when, and what no file may name."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vector_assets"

STAGES = {"raw", "cleaned", "redacted", "embedded", "indexed"}
SHARED = {"catalogs", "checks", "errors", "fingerprint", "redaction", "settings", "tables"}
CORE = SHARED | {"reconcile", "models"}
# part of vector_assets -> the other parts that it may import; parts not named here (defs, cli, demo, …) may import any.
MAY_IMPORT = {
    **dict.fromkeys(STAGES, CORE),
    **dict.fromkeys(["reconcile", "models"], SHARED),
    "errors": set(),
    "fingerprint": set(),
    "checks": {"errors"},
    "frozen": set(),
    "catalogs": {"frozen"},
    "redaction": {"fingerprint", "frozen"},
    "tables": {"catalogs", "checks", "errors", "fingerprint", "frozen", "redaction"},
    "sources_file": {"catalogs", "errors", "tables"},
    "settings": {"errors", "sources_file", "tables"},
    "launcher": {"errors", "settings"},
    "notify": {"errors", "fingerprint", "settings", "tables"},
    "arenas": set(),
    "engines": CORE | STAGES,
    "evaluation": CORE | {"redacted"},
    "pipeline": CORE | STAGES | {"deletes", "engines", "values", "evaluation", "waiting"},
    "deletes": CORE | STAGES | {"pipeline", "values"},
    "values": CORE | STAGES | {"pipeline"},
    "waiting": CORE | STAGES | {"pipeline"},
    "search": CORE | STAGES,
}
# Presidio lives in worker processes, which load these modules and nothing else of the package does.
WORKER_ONLY = tuple(f"vector_assets/redacted/{name}.py" for name in ("custom", "detector", "nlp", "relevance", "recognizers/presidio"))
MAY_IMPORT_DAGSTER = {"definitions", "defs", "launcher", "cli"}
# Seconds and hundreds of megabytes each: never while a code location loads or `--help` is printed.
HEAVY = {
    "duckdb",
    "faker",
    "lance",
    "lancedb",
    "mlflow",
    "pandas",
    "pandera",
    "presidio_analyzer",
    "py3langid",
    "sentence_transformers",
    "spacy",
    "torch",
    "transformers",
    "weaviate",
}


class Import(NamedTuple):
    """One imported name, where, and whether importing the module runs it."""

    part: str
    place: str
    name: str
    at_load: bool

    @property
    def top(self) -> str:
        """The package that the name belongs to."""
        return self.name.partition(".")[0]

    @property
    def own_part(self) -> str | None:
        """The part of vector_assets that it belongs to, if it does."""
        names = self.name.split(".")
        return names[1] if names[0] == "vector_assets" and len(names) > 1 else None


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _names(node: ast.Import | ast.ImportFrom, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or ""
    if node.level:
        folder = path.relative_to(ROOT).parts[: -node.level]
        module = ".".join([*folder, *filter(None, [module])])
    return [f"{module}.{alias.name}" for alias in node.names]


def _walk(node: ast.AST, *, at_load: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_load
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(child, at_load=False)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, at_load=at_load and not later)


def imports_of(path: Path) -> list[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        Import(_part(path), f"{path.relative_to(ROOT)}:{node.lineno}", name, at_load)
        for node, at_load in _walk(tree, at_load=True)
        for name in _names(node, path)
    ]


SOURCES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [found for path in SOURCES for found in imports_of(path)]


def test_only_workers_load_the_detector() -> None:
    importing = {
        found.place.partition(":")[0] for found in IMPORTS if found.name.startswith("vector_assets.redacted.detector") and found.at_load
    }
    assert importing <= {"vector_assets/redacted/worker.py"}


def test_the_package_is_read() -> None:
    assert {"raw", "tables", "reconcile"} <= {_part(path) for path in SOURCES}
    assert any(found.own_part == "fingerprint" for found in IMPORTS)


def test_imports_keep_to_their_layer() -> None:
    broken = [
        f"{found.place}: {found.part} must not import {found.name}"
        for found in IMPORTS
        if found.part in MAY_IMPORT and found.own_part not in {None, found.part, *MAY_IMPORT[found.part]}
    ]
    assert broken == []


def test_only_the_surface_imports_dagster() -> None:
    assert [found.place for found in IMPORTS if found.top.startswith("dagster") and found.part not in MAY_IMPORT_DAGSTER] == []


def test_the_command_line_loads_dagster_late() -> None:
    assert [found.place for found in IMPORTS if found.part == "cli" and found.top.startswith("dagster") and found.at_load] == []


def test_heavy_libraries_load_where_they_are_used() -> None:
    assert [
        f"{found.place}: {found.name}"
        for found in IMPORTS
        if found.top in HEAVY and found.at_load and not found.place.startswith(WORKER_ONLY)
    ] == []


def test_only_settings_reads_the_environment() -> None:
    broken = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Subscript(value=ast.Attribute(attr="environ"), ctx=ast.Load()):
                    reads = True
                case ast.Call(func=ast.Attribute(attr="getenv") | ast.Attribute(attr="get", value=ast.Attribute(attr="environ"))):
                    reads = True
                case _:
                    reads = False
            if reads and path.name != "settings.py":
                broken.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert broken == []


@pytest.mark.parametrize("word", ["minilm", "mpnet", "bge-"])
def test_no_model_is_named_outside_the_demo(word: str) -> None:
    files = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".yaml", ".json", ".toml", ".txt"} and _part(path) != "demo"]
    assert [str(path.relative_to(ROOT)) for path in files if word in path.read_text(encoding="utf-8").lower()] == []


# --- in a fresh interpreter -------------------------------------------------------------------------------------------------------------


def _python(code: str, *arguments: str) -> object:
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, json; before = set(sys.modules); import vector_assets; print(json.dumps(sorted(set(sys.modules) - before)))"
    assert _python(code) == ["vector_assets"]


LOAD_WITHOUT_DAGSTER = """
import importlib, json, sys
heavy, modules = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.modules["dagster"] = None
for module in modules:
    importlib.import_module(module)
print(json.dumps(sorted(set(heavy) & set(sys.modules))))
"""


def test_everything_but_the_surface_loads_without_dagster_and_without_heavy_libraries() -> None:
    paths = [
        path.relative_to(ROOT)
        for path in SOURCES
        if _part(path) not in MAY_IMPORT_DAGSTER and str(path.relative_to(ROOT)) not in WORKER_ONLY
    ]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths if path.stem != "__main__"]
    assert _python(LOAD_WITHOUT_DAGSTER, json.dumps(sorted(HEAVY)), json.dumps(modules)) == []


# --- the project's files ----------------------------------------------------------------------------------------------------------------


def test_no_tracked_file_names_a_package_registry() -> None:
    # In pieces, so that this file does not name them either.
    hosts = ["".join(pieces) for pieces in [("py", "pi.org"), ("python", "hosted.org"), ("npm", "js.org"), ("crates", ".io")]]
    hosts += [
        "".join(pieces) for pieces in [("proxy.go", "lang.org"), ("maven.apa", "che.org"), ("repo1.ma", "ven"), ("deb.deb", "ian.org")]
    ]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs git and a clone: what is tracked is asked of git")
    broken = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes().lower()
            broken += [name for host in hosts if host.encode() in content]
    assert broken == []


def test_the_lock_holds_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split()[0].split("==") for line in lock if line[:1].isalnum())
    wanted = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]
    missing = [str(r) for r in wanted if not r.specifier.contains(pins.get(canonicalize_name(r.name), "0"), prereleases=True)]
    assert missing == [], "run `make lock`"
