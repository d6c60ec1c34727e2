"""Files beside those of a user who would have root touch other ones."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from x121.db.embedded.binaries import Account, EmbeddedPostgresError, find_binaries, grant_access
from x121.db.embedded.cluster import Cluster
from x121.db.embedded.files import (
    ForeignFileError,
    give_folder,
    read_file,
    replace_file,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be misled")

NOBODY = pwd.getpwnam("nobody")
ACCOUNT = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, frozenset([NOBODY.pw_gid]))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file of root's."""
    path = tmp_path / "secret"
    path.write_text("root:x\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder that belongs to another user."""
    path = tmp_path / "data"
    path.mkdir(0o700)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def put(path: Path, text: str) -> None:
    """Write a file as the owner of its folder would."""
    path.write_text(text)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


# --- the lock -----------------------------------------------------------------------------------


def test_lock_file_is_given_to_the_owner_of_the_data(data: Path) -> None:
    """A lock of root's becomes the owner's, who may then start without root."""
    for _ in range(2):
        cluster = Cluster(data)
        assert cluster.lock()
        assert cluster.lock_path.stat().st_uid == NOBODY.pw_uid
        cluster.unlock()


@pytest.mark.parametrize("text", ["root:x\n", ""])
def test_hard_link_as_lock_file(data: Path, secret: Path, text: str) -> None:
    """Another file of root's, under a second name, stays root's, empty or not."""
    secret.write_text(text)
    cluster = Cluster(data)
    cluster.lock_path.hardlink_to(secret)
    with pytest.raises(ForeignFileError, match=r"data\.lock is not an empty lock file: remove it"):
        cluster.lock()
    assert secret.stat().st_uid == 0
    assert not cluster.owned


def test_renamed_file_as_lock_file(data: Path, secret: Path) -> None:
    """A file that had two names until the other was removed stays root's, too."""
    cluster = Cluster(data)
    secret.rename(cluster.lock_path)
    with pytest.raises(ForeignFileError):
        cluster.lock()
    assert cluster.lock_path.stat().st_uid == 0


def test_symbolic_link_as_lock_file(data: Path, secret: Path) -> None:
    """A link is not followed."""
    cluster = Cluster(data)
    cluster.lock_path.symlink_to(secret)
    with pytest.raises(OSError, match=r"data\.lock"):
        cluster.lock()
    assert secret.stat().st_uid == 0


# --- postmaster.pid -----------------------------------------------------------------------------


def lines_of(pid: int, folder: Path) -> str:
    return "\n".join([str(pid), str(folder), "1", "5432", str(folder), "", "1 1", "ready", ""])


@pytest.fixture
def process_of_root(data: Path) -> Iterator[int]:
    """Return the number of a process of root's that works in the data folder."""
    with subprocess.Popen(["sleep", "60"], cwd=data) as process:
        yield process.pid
        process.kill()


def test_process_of_root_is_not_the_server(data: Path, process_of_root: int) -> None:
    """A process of another user, whose number somebody wrote there, gets no signal."""
    put(data / "postmaster.pid", lines_of(process_of_root, data))
    assert Cluster(data).running() is None


def test_fifo_as_pid_file(data: Path) -> None:
    """A FIFO doesn't keep root waiting."""
    os.mkfifo(data / "postmaster.pid")
    os.chown(data / "postmaster.pid", NOBODY.pw_uid, NOBODY.pw_gid)
    assert Cluster(data).running() is None


def test_links_are_not_written_through(data: Path, secret: Path) -> None:
    """Neither a symbolic nor a hard link to a file of root's is read or written."""
    for link in (Path.symlink_to, Path.hardlink_to):
        link(data / "postmaster.pid", secret)
        with pytest.raises(ForeignFileError, match=r"postmaster\.pid is not"):
            Cluster(data).forget_stale_pids()
        assert secret.read_text() == "root:x\n"
        (data / "postmaster.pid").unlink()


def test_stale_numbers_are_replaced(data: Path) -> None:
    """The number of a server that crashed becomes ours, and the rest of the file stays."""
    put(data / "postmaster.pid", lines_of(1, data))
    Cluster(data).forget_stale_pids()
    assert (data / "postmaster.pid").read_text() == lines_of(os.getpid(), data)
    assert (data / "postmaster.pid").stat().st_uid == NOBODY.pw_uid


def test_socket_folder_of_root(data: Path, tmp_path: Path) -> None:
    """A folder of root's is not removed, although its name is one that we give."""
    for path, owner in (
        (tmp_path / "x121-postgres-1", 0),
        (tmp_path / "x121-postgres-2", NOBODY.pw_uid),
    ):
        path.mkdir()
        os.chown(path, owner, owner)
        Cluster(data).remove_socket_folder(str(path))
        assert path.exists() == (owner == 0)


# --- folders and other files ---------------------------------------------------------------------


def test_link_instead_of_a_new_folder(tmp_path: Path) -> None:
    """A folder that was exchanged for a link, or that isn't empty, is not given away."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "draft").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="draft"):
        give_folder(tmp_path / "draft", NOBODY.pw_uid, NOBODY.pw_gid)
    (tmp_path / "precious" / "file").touch()
    with pytest.raises(ForeignFileError):
        give_folder(tmp_path / "precious", NOBODY.pw_uid, NOBODY.pw_gid)
    assert (tmp_path / "precious").stat().st_uid == 0


def test_link_on_the_way(tmp_path: Path) -> None:
    """A folder on the way that was exchanged for a link doesn't open the folder behind it."""
    (tmp_path / "private").mkdir(0o700)
    (tmp_path / "way").symlink_to(tmp_path / "private")
    tmp_path.chmod(0o711)
    with pytest.raises(OSError, match="way"):
        grant_access(ACCOUNT, binaries=find_binaries(), folders=[tmp_path / "way" / "data"])
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


def test_read(data: Path, secret: Path) -> None:
    """A file of the folder's owner is read, from its end where it is long; no other file is."""
    put(data / "own", "0123456789")
    assert read_file(data / "own") == b"0123456789"
    assert read_file(data / "own", last_bytes=3) == b"789"
    (data / "foreign").hardlink_to(secret)
    with pytest.raises(ForeignFileError):
        read_file(data / "foreign")


def test_replace(data: Path, secret: Path) -> None:
    """What is written is the owner's alone, and takes the place of a link."""
    (data / ".file.draft").symlink_to(secret)
    (data / "file").symlink_to(secret)
    replace_file(data / "file", b"new")
    written = (data / "file").lstat()
    assert (written.st_uid, written.st_mode & 0o777) == (NOBODY.pw_uid, 0o600)
    assert (data / "file").read_bytes() == b"new"
    assert os.listdir(data) == ["file"]
    assert secret.read_text() == "root:x\n"


def test_version_file_of_another(data: Path, secret: Path) -> None:
    """A version that is a link is an error that names it."""
    (data / "PG_VERSION").symlink_to(secret)
    with pytest.raises((ForeignFileError, EmbeddedPostgresError), match="PG_VERSION"):
        Cluster(data).exists(18)
