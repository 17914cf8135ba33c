"""What programs find around them: modules with names of the standard library, homes, settings, arguments."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.differential import Program, same

if TYPE_CHECKING:
    from collections.abc import Iterator

USES_ITS_OWN = """
import json, queue, socket
print(json.MINE, queue.MINE, socket.MINE)
with open("done", "w") as file:
    file.write("yes")
"""
MINE = {f"{name}.py": f'MINE = "my {name}"' for name in ("json", "queue", "socket")}
LOOKS = """
import sys
import os
for name in sys.argv[1:]:
    print(name, os.environ.get(name))
"""
SETS = {
    "NCCL_SOCKET_IFNAME": "bond0",
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": "7",
    "MKL_NUM_THREADS": "3",
    "HOROVOD_CYCLE_TIME": "2",
}
WRITES_HOME = """
import os, pathlib, sys, tempfile
print(sys.argv, sys.flags.isolated, __name__, __file__)
print(os.environ["HOME"], os.path.exists(os.environ["HOME"]), os.environ.get("LANG"))
with tempfile.NamedTemporaryFile() as file:
    print(file.writable())
"""
HANDS_OVER = """
import multiprocessing
from multiprocessing import shared_memory

def fill(name, room, done):
    block = shared_memory.SharedMemory(name=name)
    with room:
        block.buf[:] = b"\\x01" * block.size
    block.close()
    done.put(len(bytes(1 << 20)))

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    block = shared_memory.SharedMemory(create=True, size=8 << 20)
    room, done = spawn.Semaphore(1), spawn.SimpleQueue()
    child = spawn.Process(target=fill, args=(block.name, room, done))
    child.start()
    print("got", done.get())
    child.join()
    print("whole", bytes(block.buf[-3:]), child.exitcode)
    block.close()
    block.unlink()
"""
"""A loader in a process of its own: a block of memory, a named semaphore and a pipe."""
MAPS_A_FILE = """
import mmap, os, tempfile
with tempfile.TemporaryFile(dir="/dev/shm") as file:
    os.posix_fallocate(file.fileno(), 0, 4 << 20)
    memory = mmap.mmap(file.fileno(), 0)
    child = os.fork()
    if not child:
        memory[:3] = b"abc"
        os._exit(5)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), memory[:4])
"""
"""As NCCL and gloo share memory: an unlinked file, a fork."""
WITHOUT_TMP = """
set -e
root=$1/root; shift
mkdir -p "$root"
mount -t tmpfs none "$root"
for path in /*; do
  if [ -L "$path" ]; then cp -P "$path" "$root"
  elif [ -d "$path" ] && [ "$path" != /tmp ]; then mkdir "$root$path"; mount --rbind "$path" "$root$path"
  fi
done
mount -t tmpfs -o ro none "$root/var"
mount -o remount,ro "$root"
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""
"""An image with a read-only root, and no folder for temporary files."""
WRITES_TEMPORARY_FILES = """
import multiprocessing, os, tempfile
print([os.path.exists(path) for path in ("/tmp", "/var/tmp", "/usr/bin")], os.access("/", os.W_OK))
with tempfile.TemporaryDirectory() as folder:
    print(os.path.dirname(folder) == os.getcwd())
with multiprocessing.Pool(1) as pool:
    print(pool.map(abs, [-3]))
with open("model", "w") as file:
    file.write("weights")
"""
WITHOUT_ENVIRONMENT = 'env -i PATH="$PATH" HOME=/nowhere python look.py PATH HOME PYTHONPATH RANK USER'
SET_IN_A_SHELL = "export NCCL_DEBUG=WARN OMP_NUM_THREADS=5; . ./settings; exec python look.py NCCL_DEBUG"
SET_IN_A_SHELL += " OMP_NUM_THREADS GLOO_SOCKET_IFNAME"
READS_STDIN = """
import sys
print("read", repr(sys.stdin.read()), sys.stdout.isatty(), sys.stdout.encoding, flush=True)
sys.stderr.write("no newline at the end")
"""


@pytest.mark.parametrize(
    ("line", "folder"),
    [("python train.py", ""), ("PYTHONPATH=shadows:$PYTHONPATH python train.py", "shadows/")],
    ids=["beside the script", "on PYTHONPATH"],
)
def test_modules_may_have_names_of_the_standard_library(tmp_path: Path, line: str, folder: str) -> None:
    files = {"train.py": USES_ITS_OWN, **{folder + name: text for name, text in MINE.items()}}
    outcome = same(Program(command=("bash", "-c", line), files=files), tmp_path)
    assert outcome.lines == ["my json my queue my socket"]


@pytest.mark.parametrize("strategy", ["Plain", "Torchrun"])
def test_what_the_caller_sets_is_left_alone(tmp_path: Path, strategy: str) -> None:
    program = Program(
        command=("python", "look.py", *SETS), files={"look.py": LOOKS}, env=SETS, strategy=strategy
    )
    assert same(program, tmp_path).lines == [f"{name} {value}" for name, value in SETS.items()]


@pytest.mark.parametrize("line", [WITHOUT_ENVIRONMENT, SET_IN_A_SHELL], ids=["empty", "shell"])
def test_what_a_shell_makes_of_the_environment_is_what_the_program_finds(tmp_path: Path, line: str) -> None:
    files = {"look.py": LOOKS, "settings": "export GLOO_SOCKET_IFNAME=lo"}
    assert same(Program(command=("bash", "-c", line), files=files, strategy="Torchrun"), tmp_path).code == 0


@pytest.mark.parametrize("script", [HANDS_OVER, MAPS_A_FILE], ids=["blocks", "file"])
def test_processes_share_memory(tmp_path: Path, script: str) -> None:
    assert same(Program(command=("python", "train.py"), files={"train.py": script}), tmp_path).code == 0


@pytest.fixture
def without_tmp() -> Iterator[tuple[str, ...]]:
    """Give what starts a command where there is no /tmp; the last word is a folder that can be written."""
    if subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("user namespaces are switched off here")
    if any(Path(path).is_relative_to("/tmp") for path in (__file__, sys.executable)):
        pytest.skip("the checkout lies in /tmp")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield ("unshare", "-Urm", "sh", "-c", WITHOUT_TMP, "sh", folder)


def test_a_read_only_root_without_tmp_is_enough(without_tmp: tuple[str, ...]) -> None:
    files = {"train.py": WRITES_TEMPORARY_FILES}
    program = Program(command=("python", "train.py"), files=files, within=without_tmp)
    outcome = same(program, Path(without_tmp[-1]))
    assert (outcome.code, outcome.lines[0]) == (0, "[False, False, True] False")


def test_a_machine_without_any_place_for_temporary_files_is_told_so(without_tmp: tuple[str, ...]) -> None:
    job = Path(without_tmp[-1]) / "job.yaml"
    job.write_text(json.dumps(Program(command=("true",)).job()))
    ftjob = [str(Path(sys.executable).with_name("ftjob")), "run", str(job), "--outputs", f"{job.parent}/out"]
    command = [*without_tmp, *ftjob]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "TMPDIR: no folder for the agents' files" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_is_not_there_is_none_of_ftjobs_business(tmp_path: Path) -> None:
    env = {"HOME": "/nonexistent", "LANG": "C"}
    program = Program(command=("python", "-X", "utf8", "train.py"), files={"train.py": WRITES_HOME}, env=env)
    assert same(program, tmp_path).code == 0


def test_a_program_reads_an_empty_stdin_and_leaves_its_last_line_open(tmp_path: Path) -> None:
    # As in a pod, the two streams are two pipes: nothing tells which of their lines came first.
    program = Program(command=("python", "train.py"), files={"train.py": READS_STDIN}, in_any_order=True)
    same(program, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ("python", "-m", "package.train"),
        ("python", "-c", "import package.train"),
        ("python", "-I", "package/train.py"),
        ("python", "-S", "-O", "package/train.py"),
        ("sh", "start.sh"),
    ],
    ids=["module", "text", "isolated", "no site", "script"],
)
def test_a_program_starts_in_any_way(tmp_path: Path, command: tuple[str, ...]) -> None:
    files = {
        "package/__init__.py": "",
        "package/train.py": "import sys\nprint(__name__, sys.argv, sys.flags)\nsys.exit(4)",
        "start.sh": "set -e\nexport SEED=1\nexec python -m package.train --seed $SEED",
    }
    outcome = same(Program(command=command, files=files), tmp_path)
    assert outcome.code == 4
