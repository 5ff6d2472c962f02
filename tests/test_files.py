import os

import pytest

from babelclip.errors import BabelclipError
from babelclip.files import remove_temporaries, sha256, write_whole
from forks import dead_process


def test_a_file_is_written_whole_with_its_folders(tmp_path):
    file = tmp_path / "a" / "b.txt"
    write_whole(file, "grün")
    write_whole(file, b"two")
    assert file.read_bytes() == b"two"
    assert [path.name for path in file.parent.iterdir()] == ["b.txt"]
    assert sha256(file) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_a_failed_write_leaves_what_was_there_and_says_what_to_do(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    write_whole(file, "old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(BabelclipError, match=r"a\.txt: cannot be written \(No space left on device\). Free some space"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(BabelclipError, match="cannot be written"):
        write_whole(file / "below" / "a.txt", "x")


def test_what_another_living_process_is_writing_stays(tmp_path):
    gone = [f".a.json.{number}.tmp" for number in (dead_process(), os.getpid(), 10**30)]
    living = [f".a.json.{os.getppid()}.tmp", ".b.1.tmp"]
    for name in (*gone, *living, ".of another program.tmp"):
        (tmp_path / name).write_text("half")
    remove_temporaries(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*living, ".of another program.tmp"])
