"""Where a file lies that an installed package carries. The package is never imported."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from tunewright.artifacts.fingerprint import sha256_file
from tunewright.errors import DataError, EnvironmentProblem
from tunewright.recipe.data_sections import PackageSource
from tunewright.recipe.explain import nearest


def file_of(source: PackageSource) -> Path:
    """Return the file.

    Raises:
        EnvironmentProblem: the package is not installed. DataError: it carries no such file.
    """
    try:
        found = metadata.distribution(source.package)
    except metadata.PackageNotFoundError:
        raise EnvironmentProblem(
            f"the package {source.package} is not installed", where="a source of type `package`",
            fix=f"pip install {source.package}",
        ) from None  # fmt: skip
    carried = {str(file): file for file in found.files or ()}
    if source.file not in carried:
        close = nearest(source.file, carried)
        raise DataError(
            f"the package carries no file {source.file!r}", where=f"{source.package} {found.version}",
            expected="one of the files that `pip show --files` names", fix=f"did you mean {close}?" if close else None,
        )  # fmt: skip
    return Path(str(found.locate_file(carried[source.file])))


def package_identity(source: PackageSource) -> str:
    """Return the SHA-256 of the file.

    Raises:
        As `file_of`.
    """
    return sha256_file(file_of(source))
