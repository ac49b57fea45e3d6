"""Files and folders that appear whole or not at all, also when the process is killed while it writes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from neurokit.disk_space import full_disk, how_to_write
from neurokit.errors import OutputError


def write_text(path: Path, text: str) -> None:
    """Replaces the content of `path` in one step.

    Raises:
        OutputError: If it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replaces the content of `path` in one step.

    Raises:
        OutputError: If it cannot be written.
    """
    refuse_name(path)
    with _partial(path, content) as partial:
        partial.replace(path)
        _sync(path.parent)


def write_vouched(path: Path, content: bytes, beside: Mapping[str, bytes]) -> None:
    """Replaces a file that speaks of others, and them: it never lies beside others than those that it speaks of.

    A process that is killed meanwhile leaves the old ones, the new ones, or the others without it.

    Args:
        path: The file that speaks of the others.
        content: What it says.
        beside: The others' content by their names.

    Raises:
        OutputError: If one cannot be written; the old ones are there then.
    """
    with ExitStack() as stack:
        mine = stack.enter_context(_partial(path, content))
        others = {name: stack.enter_context(_partial(path.with_name(name), text)) for name, text in beside.items()}
        path.unlink(missing_ok=True)
        for name, partial in others.items():
            partial.replace(path.with_name(name))
        mine.replace(path)
        _sync(path.parent)


@contextmanager
def _partial(path: Path, content: bytes | memoryview) -> Iterator[Path]:
    """Writes what is to replace a file beside it, under a lock that tells it from leftovers of killed processes.

    Raises:
        OutputError: If it cannot be written or not be put in place.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            _lock(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield partial
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", fix=how_to_write(error)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def clear_partials(folder: Path) -> None:
    """Removes what killed processes left half written of files in a folder."""
    for path in folder.glob(".*.partial-*"):
        if path.is_file():
            with suppress(OSError), _taken(path) as is_left:
                if is_left:
                    path.unlink()


def refuse_name(path: Path) -> None:
    """Refuses what cannot be the name of a file to write, before any work.

    Raises:
        OutputError: If it is a folder, a device or a pipe, or has no name.
    """
    if not path.name or path.name in (".", "..") or path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder", expected="the name of a file", fix="give a file name")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is no regular file", expected="the name of a file", fix="give another name")
    if not path.exists() and path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path.parent} cannot be written: no permission",
            expected="a folder you may write to",
            fix="choose another place",
        )


def append_text(path: Path, text: str) -> None:
    """Adds lines to the end of a file, all of them or none; other processes that do so wait for each other.

    Raises:
        OutputError: If it cannot be written.
    """
    refuse_name(path)
    try:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", fix=how_to_write(error)) from error


def check_place(out: Path, *, force: bool = False, replaceable: Callable[[Path], bool] = lambda folder: False) -> None:
    """Refuses a folder that `new_folder` would refuse, without touching the disk.

    Raises:
        OutputError: If `out` exists (without `force`), or no folder can be made there.
    """
    target = _absolute(out)
    _refuse_existing(target, force, replaceable)
    above = next(folder for folder in target.parents if os.path.lexists(folder))
    if not above.is_dir():
        raise _unwritable(above, NotADirectoryError(errno.ENOTDIR, "it is a file"))
    if not os.access(above, os.W_OK | os.X_OK):
        raise _unwritable(above, PermissionError(errno.EACCES, "no permission"))


@contextmanager
def new_folder(
    out: Path, *, force: bool = False, replaceable: Callable[[Path], bool] = lambda folder: False
) -> Iterator[tuple[Path, Path]]:
    """Makes a folder beside its place and renames it there when the block ends without an exception.

    The temporary folder is `.NAME.partial-PID`, and its maker holds a lock on it: whatever a killed process
    left is unlocked, and the next call for the same `out` clears it away. With `force`, the old folder steps
    aside as `.NAME.old-PID` and is removed once the new one is in place; should the process die between the
    two renames, the next call puts the old one back.

    Args:
        out: The folder to make. Missing parents are made too, and removed again on failure.
        force: Whether an existing folder may be replaced.
        replaceable: Tells whether `force` may replace the folder that is there.

    Yields:
        The temporary folder to write into, and the absolute final path.

    Raises:
        OutputError: Before any work, if `out` exists or cannot be written; afterwards, if the disk is full.
    """
    check_place(out, force=force, replaceable=replaceable)
    target = _absolute(out)
    made = _make_parents(target.parent)
    try:
        _recover(target)
        _refuse_existing(target, force, replaceable)
        folder, lock = _locked_folder(target)
        try:
            yield folder, target
            _sync_tree(folder)
            _move_in(folder, target, force)
        except BaseException as error:
            full = full_disk(error, folder, target) if isinstance(error, Exception) else None
            shutil.rmtree(folder, ignore_errors=True)
            if full is not None:
                raise full from error
            raise
        finally:
            os.close(lock)
    except BaseException:
        for parent in made:  # innermost first; one that meanwhile holds something else stays
            with suppress(OSError):
                parent.rmdir()
        raise


def _absolute(out: Path) -> Path:
    if not out.name or out.name in (".", ".."):
        raise OutputError(f"{str(out)!r} is no name for a new folder", fix="give --out a folder name such as build/m")
    target = out.parent.resolve() / out.name
    try:
        os.lstat(target)
    except PermissionError as error:  # a folder that may not even be looked into
        raise _unwritable(target.parent, error) from error
    except OSError:
        pass  # there is nothing yet, or a file stands in the way, which is told later
    return target


def _make_parents(parent: Path) -> list[Path]:
    """Makes the missing folders down to `parent` and returns them, innermost first."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(parent, error) from error
    return missing


def _refuse_existing(target: Path, force: bool, replaceable: Callable[[Path], bool]) -> None:
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputError(f"{target} exists already", expected="a new folder", fix="choose another, or add --force")
    if target.is_symlink() or not target.is_dir() or not replaceable(target):
        raise OutputError(
            f"{target} exists and holds something else",
            expected="a new folder, or with --force one that neurokit wrote",
            fix="choose another folder, or remove that one yourself",
        )


def _locked_folder(target: Path) -> tuple[Path, int]:
    """Makes and locks the temporary folder; the lock ends with the process, however that ends."""
    folder = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY)
    except FileExistsError as error:
        raise OutputError(f"{target} is being written already", fix="wait, or choose another folder") from error
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    _lock(lock)
    return folder, lock


def _lock(handle: int) -> bool:
    """Locks an open folder and returns whether that worked: network file systems may have no locks.

    Without locks nothing is taken for a leftover, so then leftovers stay, and everything else works.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _recover(target: Path) -> None:
    """Clears away what dead processes left beside `target`, and puts back an old folder that stepped aside."""
    for old in _leftovers(target, "old"):
        if not os.path.lexists(target):
            old.rename(target)
        else:
            shutil.rmtree(old, ignore_errors=True)
    for partial in _leftovers(target, "partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _leftovers(target: Path, kind: str) -> Iterator[Path]:
    """Yields the `.NAME.kind-PID` folders that no living process holds a lock on."""
    prefix = f".{target.name}.{kind}-"
    found = [path for path in target.parent.iterdir() if path.name.startswith(prefix) and path.is_dir()]
    for path in found:
        if path.name.removeprefix(prefix).isdigit():
            with suppress(OSError), _taken(path) as is_left:
                if is_left:
                    yield path


@contextmanager
def _taken(path: Path) -> Iterator[bool]:
    """Locks a file or folder for a block, and says whether no living process held a lock on it."""
    lock = os.open(path, os.O_RDONLY)
    try:
        yield _lock(lock)
    finally:
        os.close(lock)


def _move_in(folder: Path, target: Path, force: bool) -> None:
    """Renames `folder` to `target`, with `force` in the place of what is there."""
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    try:
        if not (force and os.path.lexists(target)):
            folder.rename(target)
            _sync(target.parent)
            return
        held = os.open(target, os.O_RDONLY)
        try:
            _lock(held)
            target.rename(old)
            try:
                folder.rename(target)
            except OSError:
                old.rename(target)
                raise
            _sync(target.parent)
        finally:
            os.close(held)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if os.path.lexists(target):
            raise OutputError(
                f"{target} was made by another process meanwhile",
                expected="a new folder",
                fix="choose another, or add --force",
            ) from error
        raise OutputError(f"{target} cannot be put in place: {error.strerror}", fix=how_to_write(error)) from error


def _sync_tree(folder: Path) -> None:
    """Brings every file and folder below `folder` to the disk before it gets its name."""
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(parent: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{parent} cannot be written: {error.strerror}",
        expected="a folder you may write to",
        fix="choose another --out",
    )
