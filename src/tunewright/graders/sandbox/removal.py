"""Remove a folder that hostile code has filled: trees deeper than any path may be long, folders without a mode."""

from __future__ import annotations

import contextlib
import os
import time

MOST_SECONDS = 60.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove the folder `path` and all below it; links are not followed, and what cannot be removed stays.

    What is left after MOST_SECONDS stays too. It goes down and up by one open folder, so that no depth is too much for
    paths, files or recursion.
    """
    with contextlib.suppress(OSError):
        os.chmod(path, 0o700)
        walk = _Walk(os.open(path, _FOLDER))
        try:
            walk.empty()
        finally:
            os.close(walk.here)
        os.rmdir(path)


class _Walk:
    """An open folder, `here`, and what is left to do on the way back up from it."""

    def __init__(self, here: int):
        self.here = here
        self.left = [self._subfolders()]
        self.way: list[tuple[str, os.stat_result]] = []
        """name of each folder on the way down, and what it lies in"""

    def empty(self) -> None:
        """Remove all that is in the first folder. Raises OSError if someone moves folders meanwhile."""
        deadline = time.monotonic() + MOST_SECONDS
        while (self.way or self.left[-1]) and time.monotonic() < deadline:
            if self.left[-1]:
                self._down(self.left[-1].pop())
            else:
                self._up()

    def _down(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=self.here)
            below = os.open(name, _FOLDER, dir_fd=self.here)
            self.way.append((name, os.fstat(self.here)))
            self._go(below)
            self.left.append(self._subfolders())

    def _up(self) -> None:
        self.left.pop()
        name, above = self.way.pop()
        self._go(os.open("..", _FOLDER, dir_fd=self.here))
        if not os.path.samestat(os.fstat(self.here), above):
            raise OSError("moved")
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self.here)

    def _go(self, fd: int) -> None:
        os.close(self.here)
        self.here = fd

    def _subfolders(self) -> list[str]:
        """Unlink the files here; return the names of the folders."""
        folders: list[str] = []
        with contextlib.suppress(OSError), os.scandir(self.here) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                    continue
                with contextlib.suppress(OSError):
                    os.unlink(entry.name, dir_fd=self.here)
        return folders
