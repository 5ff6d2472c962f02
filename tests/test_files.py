import errno
import os

import pytest

from babelclip.errors import BabelclipError
from babelclip.files import check_folder, remove_folder, remove_temporaries, sha256, write_folder, write_whole
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


@pytest.mark.parametrize("left", ["folder", "file"])
def test_what_a_process_of_the_same_number_left_does_not_stand_in_the_way(tmp_path, left):
    """As in a container, where each start has the number of the last."""
    folder, half = tmp_path / "work", tmp_path / f".work.{os.getpid()}.tmp"
    for act in (lambda: write_folder(folder, {"a.txt": "new"}), lambda: remove_folder(folder)):
        if left == "folder":
            half.mkdir()
        (half / "a.txt" if left == "folder" else half).write_text("half")
        act()
        assert not half.exists()
        if folder.exists():
            check_folder(folder)
            assert sorted(file.name for file in folder.iterdir()) == ["a.txt", "manifest.json"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_removed_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    write_folder(tmp_path / "work", {"a.txt": "new"})

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    for done, left in (("pathlib.Path.rename", "/work"), ("shutil.rmtree", rf"/\.work\.{os.getpid()}\.tmp")):
        with monkeypatch.context() as patch:
            patch.setattr(done, refuse)
            with pytest.raises(BabelclipError, match=rf"{left}: cannot be removed \(Permission denied\)\. Delete"):
                remove_folder(tmp_path / "work")
        (found,) = tmp_path.iterdir()
        check_folder(found)
