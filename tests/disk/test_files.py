"""File systems as they are: without a sync of folders, without locks, with names of few bytes."""

import errno
import os
from pathlib import Path

import filelock
import pytest

from mezzotint import config
from mezzotint.disk.files import write
from mezzotint.disk.folder import SOFT_LOCK, check_free, locked
from mezzotint.errors import ConfigError


def refuse(number: int) -> object:
    def call(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", refuse(errno.EINVAL))
    write(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    monkeypatch.setattr("os.fsync", refuse(errno.EIO))  # a disk that fails is no file system without sync
    with pytest.raises(OSError, match="Input/output"):
        write(tmp_path / "b", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(filelock.UnixFileLock, "_acquire", refuse(number))
    with locked(tmp_path / "run") as line:
        assert line and "without locks" in line
        with (
            pytest.raises(ConfigError, match=f"another process .* delete .*{SOFT_LOCK}"),
            locked(tmp_path / "run"),
        ):
            pass
    with locked(tmp_path / "run") as line:
        assert line
    check_free(tmp_path / "run", config.parse({}), overwrite=False, resume=False)


def test_where_there_are_locks_nothing_is_said(tmp_path: Path) -> None:
    with locked(tmp_path / "run") as line:
        assert line is None
    assert not (tmp_path / "run" / SOFT_LOCK).exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filelock.UnixFileLock, "_acquire", refuse(errno.EROFS))
    with pytest.raises(ConfigError, match="Read-only file system"), locked(tmp_path / "run"):
        pass


def test_a_name_that_is_no_utf8_is_refused_before_training(tmp_path: Path) -> None:
    name = os.fsdecode(b"espa\xf1a")
    with pytest.raises(ConfigError, match="not UTF-8"):
        check_free(tmp_path / name, config.parse({}), overwrite=False, resume=False)
    assert list(tmp_path.iterdir()) == []
