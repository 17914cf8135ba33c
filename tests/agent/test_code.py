"""The user's code in an agent: what it unpacks, what it refuses, and that each attempt has a fresh copy."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import OPERATOR, plan, wait_for

from ftjob.code.pack import pack
from ftjob_agent.config import ConfigError
from ftjob_agent.ranks import unpack
from ftjob_agent.ranks.unpack import enter
from ftjob_protocol.code import Code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.agent_runs import Agents

BOMB = 80 << 20


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)


def told(folder: Path, archive: bytes) -> Code:
    file = folder / "code.tar.gz"
    file.write_bytes(archive)
    return Code(str(file), hashlib.sha256(archive).hexdigest())


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what unpacks an archive as an agent does, and gives the folder."""
    monkeypatch.chdir(tmp_path)

    def do(archive: bytes, attempt: int = 0) -> Path:
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        enter(told(tmp_path, archive), {"FTJOB_RUN_DIR": str(run)}, attempt=attempt)
        return run / "code"

    return do


def test_what_was_packed_is_there_again(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "lib").mkdir(parents=True)
    files = {"lib/a b": b"\0\xff" * 9, "ü\n": b"", os.fsdecode(b"\xfe"): b"3", "n" * 180: b"4"}
    for name, content in files.items():
        (source / name).write_bytes(content)
    (source / "lib" / "run.sh").write_text("#!/bin/sh\n")
    (source / "lib" / "run.sh").chmod(0o755)
    folder = unpacked(pack(source).content)
    assert {name: (folder / name).read_bytes() for name in files} == files
    assert os.access(folder / "lib" / "run.sh", os.X_OK)
    assert not os.access(folder / "lib" / "a b", os.X_OK)
    assert os.path.realpath(os.curdir) == os.path.realpath(folder)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("/etc/cron")], "'/etc/cron' leads out"),
        ([member("../up")], "leads out"),
        ([member("a/../../up")], "leads out"),
        ([member("a//b")], "leads out"),
        ([member("link", b"", tarfile.SYMTYPE, "/etc"), member("link/up")], "'link' is no plain file"),
        ([member("link", b"", tarfile.LNKTYPE, "/etc/passwd")], "'link' is no plain file"),
        ([member("fifo", b"", tarfile.FIFOTYPE)], "'fifo' is no plain file"),
        ([member("disk", b"", tarfile.BLKTYPE)], "'disk' is no plain file"),
        ([member("a"), member("a")], "File exists"),
        ([member("a"), member("a/b")], "Not a directory|File exists"),
        ([member("zeros", bytes(BOMB))], "more than 64 MiB"),
        ([member("name", bytes(BOMB), tarfile.GNUTYPE_LONGNAME), member("a")], "more than 64 MiB"),
        ([member("cut off", bytes(2000))[:1024]], "cut off|unexpected end"),
    ],
)
def test_a_hostile_archive_writes_nothing_elsewhere(
    unpacked: Callable[..., Path], tmp_path: Path, members: list[bytes], said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"spec\.code: .*({said})"):
        unpacked(gzip.compress(b"".join(members), 9))
    assert {path.name for path in tmp_path.iterdir()} == {"code.tar.gz", "run"}


@pytest.mark.parametrize(
    "archive",
    [b"", b"no archive", gzip.compress(b"no archive" * 99), gzip.compress(b"")[:-4]],
    ids=["nothing", "no gzip", "no tar", "cut"],  # without the time that is in them
)
def test_what_is_no_archive_is_refused(unpacked: Callable[..., Path], archive: bytes) -> None:
    with pytest.raises(ConfigError, match=r"spec\.code: can't unpack it"):
        unpacked(archive)


def test_very_many_files_are_refused(unpacked: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FILES_MAX", 3)
    with pytest.raises(ConfigError, match="more than 3 files"):
        unpacked(gzip.compress(b"".join(member(f"{number}") for number in range(4))))


def test_other_bytes_than_the_jobs_are_not_even_looked_at(tmp_path: Path) -> None:
    good = told(tmp_path, gzip.compress(member("train.py")))
    other = Code(told(tmp_path, gzip.compress(member("evil.py"))).file, good.sha256)
    with pytest.raises(ConfigError, match="somebody has put another archive into its ConfigMap"):
        enter(other, {"FTJOB_RUN_DIR": str(tmp_path)}, attempt=0)
    assert {path.name for path in tmp_path.iterdir()} == {"code.tar.gz"}


def test_the_next_attempt_finds_nothing_that_the_last_one_wrote(
    unpacked: Callable[..., Path], tmp_path: Path
) -> None:
    archive = gzip.compress(member("lib/train.py", b"print(1)"))
    folder = unpacked(archive)
    (folder / "lib" / "train.py").write_text("print(2)")
    (folder / "lib" / "__pycache__").mkdir()
    (folder / "lib").chmod(0o500)
    assert unpacked(archive, attempt=1) == folder
    assert (folder / "lib" / "train.py").read_bytes() == b"print(1)"
    assert [path.name for path in (folder / "lib").iterdir()] == ["train.py"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "elsewhere")
    assert not unpacked(archive, attempt=2).is_symlink()
    assert (tmp_path / "elsewhere" / "kept").exists()


SHOWS = """\
import json, os, sys
import helper
attempt = os.environ["FTJOB_ATTEMPT"]
found = {"cwd": os.getcwd(), "files": sorted(os.listdir()), "helper": helper.__file__,
         "path": os.environ["PYTHONPATH"].split(os.pathsep)[1:]}
with open("written", "w") as file:
    file.write("by attempt " + attempt)
with open(os.environ["FTJOB_RANK_DIR"] + "/../../shown-" + attempt, "w") as file:
    json.dump(found, file)
sys.exit(9 if attempt == "0" else 0)
"""


def config(tmp_path: Path, archive: bytes, **changes: Any) -> dict[str, Any]:
    code = told(tmp_path, archive)
    rank = {"rank": 0, "localRank": 0, "env": {"FTJOB_RANK": "0", "FTJOB_ATTEMPT": "0"}}
    return plan(code={"file": code.file, "sha256": code.sha256}, ranks=[rank], **changes)


def test_ranks_run_in_it_and_a_restart_in_place_unpacks_it_anew(agents: Agents, tmp_path: Path) -> None:
    files = {"train.py": SHOWS, "helper.py": "", "run.sh": "#!/bin/sh\nexec python3 -S train.py\n"}
    source = tmp_path / "source"
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    (source / "run.sh").chmod(0o755)
    waits = {"acknowledgeSeconds": 20, "patienceSeconds": 60}
    agent = agents.start(config(tmp_path, pack(source).content, inPlace=waits), ["./run.sh"])
    wait_for(lambda: agent.progress().get("state") == "Halted", "the halt")
    assert agent.request("POST", "/v1/start", b'{"attempt": 1}')[0] == 200
    assert agent.wait() == 0
    code = str(agent.folder / "run" / "code")
    for attempt in "01":
        assert json.loads(agent.text(f"shown-{attempt}")) == {
            "cwd": code,
            "files": ["__pycache__", *sorted(files)],
            "helper": f"{code}/helper.py",
            "path": [code, str(OPERATOR)],
        }


def test_an_agent_with_other_code_fails_as_a_wrong_job_does(agents: Agents, tmp_path: Path) -> None:
    wrong = config(tmp_path, gzip.compress(member("train.py")))
    wrong["code"]["sha256"] = "0" * 64
    agent = agents.start(wrong, ["true"])
    assert agent.wait() == 2
    assert (agent.failure["class"], "is not what the job was submitted with" in agent.failure["message"]) == (
        "Config",
        True,
    )
