"""A folder as an archive: what belongs to it, what is refused, and that equal content gives equal bytes."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from ftjob.code import pack as packing
from ftjob.code.errors import CodeError
from ftjob.code.pack import Archive, pack
from ftjob_protocol.code import PACKED_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ODD = ["a b.py", "new\nline", "ä ü", "-rf", "'quoted\"", b"\xff\xfe.bin".decode("utf-8", "surrogateescape")]


def contents(archive: Archive) -> dict[str, bytes]:
    with tarfile.open(
        fileobj=io.BytesIO(archive.content), encoding="utf-8", errors="surrogateescape"
    ) as found:
        return {
            member.name: file.read() for member in found if (file := found.extractfile(member)) is not None
        }


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "one", {"train.py": "print(1)", "lib/model.py": "x = 1"})
    second = write(tmp_path / "two", {"lib/model.py": "x = 1", "train.py": "print(1)"})
    os.utime(second / "train.py", (0, 0))
    (second / "train.py").chmod(0o600)
    assert pack(first).content == pack(second).content
    assert pack(first).reference("digits") == {
        "configMap": f"digits-code-{pack(second).sha256[:8]}",
        "sha256": pack(second).sha256,
    }
    (second / "train.py").chmod(0o700)
    assert pack(first).content != pack(second).content, "a program is something else"


def test_files_come_as_they_are_with_the_names_that_they_have(tmp_path: Path) -> None:
    binary = bytes(range(256)) * 9
    for name in ODD:
        (tmp_path / name).write_bytes(binary)
    (tmp_path / ("deep" * 20)).mkdir()
    (tmp_path / ("deep" * 20) / ("long" * 30)).write_bytes(b"")
    found = contents(pack(tmp_path))
    assert found == dict.fromkeys(ODD, binary) | {f"{'deep' * 20}/{'long' * 30}": b""}


def test_of_a_folder_without_git_all_is_packed_but_caches_and_what_is_ignored(tmp_path: Path) -> None:
    left_out = ["a.tmp", "data/train.csv", "lib/notes.txt", "__pycache__/train.pyc", ".venv/bin/python"]
    write(tmp_path, dict.fromkeys([*left_out, "ftjob-outputs/job.yaml"], ""))
    write(tmp_path, {"train.py": "", "data/keep.csv": "", "lib/x.py": ""})
    write(tmp_path, {".gitignore": "*.tmp\n", "lib/.ftjobignore": "*.txt\n"})
    write(tmp_path, {".ftjobignore": "data/*\n!data/keep.csv\n"})
    assert set(contents(pack(tmp_path))) == {
        ".ftjobignore",
        ".gitignore",
        "data/keep.csv",
        "lib/.ftjobignore",
        "lib/x.py",
        "train.py",
    }
    assert not (tmp_path / ".git").exists()


def test_of_a_repository_that_is_packed_which_git_knows_or_would(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    known = ["app/old.py", "app/gone.py", "app/known.bin", "app/dropped.py"]
    write(tmp_path, dict.fromkeys([*known, "app/big.bin", "outside.py"], "") | {".gitignore": "*.bin\n"})
    git(tmp_path, "add", "--force", *known)
    (tmp_path / "app" / "gone.py").unlink()
    write(tmp_path, {"app/new.py": "", ".ftjobignore": "dropped.py\n"})
    assert set(contents(pack(tmp_path / "app"))) == {"old.py", "known.bin", "new.py"}
    inner = write(tmp_path / "app" / "inner", {".gitignore": "secret\n", "secret": "", "code.py": ""})
    git(inner, "init", "--quiet")
    assert set(contents(pack(tmp_path / "app"))) == {
        "old.py",
        "known.bin",
        "new.py",
        "inner/code.py",
        "inner/.gitignore",
    }
    write(tmp_path, {"app/.ftjobignore": "inner/\nknown.bin\n"})
    assert set(contents(pack(tmp_path / "app"))) == {".ftjobignore", "old.py", "new.py"}


def test_a_caller_of_git_does_not_decide_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {"train.py": ""})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere"))
    assert set(contents(pack(tmp_path))) == {"train.py"}


def test_links_within_the_folder_are_followed_and_others_refused(tmp_path: Path) -> None:
    code = write(tmp_path / "code", {"train.py": "print(1)", "lib/model.py": ""})
    (code / "again.py").symlink_to("train.py")
    assert contents(pack(code))["again.py"] == b"print(1)"
    (tmp_path / "key").write_text("secret")
    for target, said in [
        ("../key", "leads out of the folder"),
        ("/etc/passwd", "leads out"),
        ("lib", "no file"),
        ("gone", "no file"),
    ]:
        (code / "again.py").unlink()
        (code / "again.py").symlink_to(target)
        with pytest.raises(CodeError, match=rf"again.py is a link to {target}, which .*{said}.*ftjobignore"):
            pack(code)
    (code / ".ftjobignore").write_text("again.py\n")
    assert "again.py" not in contents(pack(code))


def test_what_is_too_large_is_refused_with_its_largest_files_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom((number + 1) * PACKED_MAX // 16))
    with pytest.raises(CodeError, match=r"packed, and 900 KiB fit.*6\.bin \(394 KiB\).*\.ftjobignore") as why:
        pack(tmp_path)
    assert "2.bin" in str(why.value)
    assert "1.bin" not in str(why.value)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    with pytest.raises(CodeError, match=r"1048578 MiB, and 64 MiB fit; the largest are sparse"):
        pack(tmp_path)
    monkeypatch.setattr(packing, "FILES_MAX", 5)
    with pytest.raises(CodeError, match="it has 8 files, and 5 are allowed"):
        pack(tmp_path)


def test_a_folder_without_anything_to_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match="nothing in it"):
        pack(tmp_path)
    write(tmp_path, {"train.py": ""})
    for path in (tmp_path / "train.py", tmp_path / "gone"):
        with pytest.raises(CodeError, match="it is no folder"):
            pack(path)


def test_outputs_in_the_same_folder_do_not_change_the_archive(tmp_path: Path) -> None:
    code = write(tmp_path / "code", {"train.py": ""})
    before = pack(code)
    write(code, {"out/logs/rank-00000.log": "much"})
    (tmp_path / "link").symlink_to(code)
    assert pack(code) != before
    assert pack(code, without=tmp_path / "link" / "out") == before


def test_without_git_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"train.py": ""})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CodeError, match="install git"):
        pack(tmp_path)


def test_a_file_that_changes_meanwhile_is_never_packed_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(tmp_path, {"train.log": "one"}) / "train.log"
    left = 2

    class Busy(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal left
            found = super().read(size)
            left -= 1
            if left >= 0:
                log.write_bytes(found + b"+")
            return found

    monkeypatch.setattr("os.fdopen", Busy)
    assert contents(pack(tmp_path)) == {"train.log": b"one++"}
    left = 100
    with pytest.raises(CodeError, match=r"train.log changes while it is packed; name it in \.ftjobignore"):
        pack(tmp_path)


def test_the_archive_tells_nothing_of_this_machine(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": ""})
    found = pack(tmp_path).content
    with tarfile.open(fileobj=io.BytesIO(found)) as archive:
        [member] = archive
    assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 315_532_800)
    assert found[4:8] == b"\0\0\0\0", "gzip's time"
    assert gzip.decompress(found)
