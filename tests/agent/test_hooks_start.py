"""What the hooks do in any Python process of a rank, before a framework is there."""

import ast
import os
import sys
from pathlib import Path

import pytest
from support.hook_env import hooks_in, rank_env, record, run

import ftjob_agent

SOURCES = Path(ftjob_agent.__file__).parent / "hooks"


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hooks_in(tmp_path_factory.mktemp("zipapp") / "ftjob-agent.pyz")


def test_an_uncaught_exception_is_recorded_before_what_runs_at_exit(hooks: Path, tmp_path: Path) -> None:
    program = """
import atexit, os
failure = os.path.join(os.environ["FTJOB_RANK_DIR"], "failure.json")
atexit.register(lambda: print("on record:", os.path.exists(failure)))
raise ValueError("no such class: 7")
"""
    done = run(rank_env(hooks, tmp_path, FTJOB_RANK=3), "-c", program, code=1)
    failure = record(tmp_path, "failure.json")
    assert done.stdout == "on record: True\n"
    assert done.stderr.endswith("ValueError: no such class: 7\n")
    assert (failure["rank"], failure["type"], failure["message"]) == (3, "ValueError", "no such class: 7")
    assert failure["traceback"].endswith("ValueError: no such class: 7\n")
    assert failure["timeNs"] > 0


def test_an_exception_is_recorded_though_a_library_took_the_excepthook_away(
    hooks: Path, tmp_path: Path
) -> None:
    program = "import sys; sys.excepthook = lambda *_: print('mine'); raise ValueError('x')"
    done = run(rank_env(hooks, tmp_path), "-c", program, code=1)
    assert done.stdout == "mine\n"
    assert record(tmp_path, "failure.json")["type"] == "ValueError"


@pytest.mark.parametrize("end", ["raise SystemExit(5)", "import os; os._exit(5)"])
def test_an_exit_is_no_exception(hooks: Path, tmp_path: Path, end: str) -> None:
    run(rank_env(hooks, tmp_path), "-c", end, code=5)
    assert not (tmp_path / "failure.json").exists()


def test_a_launcher_does_not_hide_why_its_child_failed(hooks: Path, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'raise ValueError(1)'], check=True)"
    )
    run(rank_env(hooks, tmp_path), "-c", program, code=1)
    assert record(tmp_path, "failure.json")["type"] == "ValueError"


def test_a_helper_that_fails_is_not_the_rank(hooks: Path, tmp_path: Path) -> None:
    program = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", "raise ValueError(1)"])
assert not os.path.exists(os.environ["FTJOB_RANK_DIR"] + "/failure.json")
raise KeyError(2)
"""
    run(rank_env(hooks, tmp_path), "-c", program, code=1)
    assert record(tmp_path, "failure.json")["type"] == "KeyError"


def test_the_sitecustomize_of_the_image_runs_and_is_what_a_script_sees(hooks: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; SEEN = True; sys.stdout.write('theirs\\n')")
    env = rank_env(hooks, tmp_path, PYTHONPATH=f"{hooks}{os.pathsep}{tmp_path}")
    program = "import sitecustomize; print(sitecustomize.SEEN, sitecustomize.__file__); raise ValueError"
    done = run(env, "-c", program, code=1)
    assert done.stdout == f"theirs\nTrue {tmp_path / 'sitecustomize.py'}\n"
    assert (tmp_path / "failure.json").exists()


def test_a_sitecustomize_that_raises_does_what_it_does_without_us(hooks: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('theirs')")
    env = rank_env(hooks, tmp_path, PYTHONPATH=f"{hooks}{os.pathsep}{tmp_path}")
    ours = run(env, "-c", "print('on')")
    theirs = run(env | {"PYTHONPATH": str(tmp_path)}, "-c", "print('on')")
    assert ours.stdout == theirs.stdout == "on\n"
    assert ours.stderr == theirs.stderr
    assert not (tmp_path / "failure.json").exists()


def test_without_a_rank_folder_nothing_is_hooked(hooks: Path, tmp_path: Path) -> None:
    env = rank_env(hooks, tmp_path)
    del env["FTJOB_RANK_DIR"]
    program = (
        "import sys; print([n for n in sys.modules if n.startswith('ftjob')], sys.excepthook.__module__)"
    )
    assert run(env, "-c", program).stdout == "[] sys\n"


def test_a_number_that_a_program_has_overwritten_does_not_hurt(hooks: Path, tmp_path: Path) -> None:
    program = """
import os
for name in ("FTJOB_RANK", "FTJOB_LOCAL_WORLD_SIZE", "PET_NNODES"):
    os.environ[name] = "\u00b2"
from types import SimpleNamespace
from ftjob_hooks import launchers
module = SimpleNamespace(launch_agent=lambda config: print("launched"))
launchers.hook_torchrun(module)
module.launch_agent(SimpleNamespace(max_nodes=1))
raise ValueError(1)
"""
    done = run(rank_env(hooks, tmp_path, PYTHONUTF8=1), "-c", program, code=1)
    assert done.stdout == "launched\n"
    assert record(tmp_path, "failure.json")["rank"] is None


def test_a_rank_folder_that_is_gone_does_not_hurt(hooks: Path, tmp_path: Path) -> None:
    done = run(rank_env(hooks, tmp_path / "gone"), "-c", "raise ValueError(1)", code=1)
    assert done.stderr.rstrip().endswith("ValueError: 1")


def test_the_start_imports_no_framework_and_next_to_nothing_else(hooks: Path, tmp_path: Path) -> None:
    program = "import sys; print(*sys.modules, sep='\\n')"
    hooked = set(run(rank_env(hooks, tmp_path), "-c", program).stdout.split())
    bare = set(run(rank_env(hooks, tmp_path, PYTHONPATH=""), "-c", program).stdout.split())
    ours = {"sitecustomize", "ftjob_hooks", "ftjob_hooks.start", "ftjob_hooks.failure", "ftjob_hooks.imports"}
    assert ours - {"sitecustomize"} <= hooked
    assert hooked - bare <= ours | {"__future__", "atexit", "zipimport", "zlib"}


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.name)
def test_the_sources_are_python_3_9_and_import_the_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    modules = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert modules - set(sys.stdlib_module_names) <= {"ftjob_protocol", "torch", "tensorflow", "jax"}
