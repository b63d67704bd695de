"""From the sections of a recipe to filters."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.recipe.data_sections import (
    CustomFilter,
    DuplicatesFilter,
    Filter,
    LanguageFilter,
    MojibakeFilter,
    NearDuplicatesFilter,
    PythonVersionFilter,
    QualityFilter,
    SecretsFilter,
)
from tunewright.sources.filters.protocol import Check, EachRow, RowFilter


def build_filter(section: Filter) -> RowFilter:
    """Return the filter of a section. What a filter needs is imported here, and only that.

    Raises:
        MissingExtra: it needs a library that is not installed. UserError: a custom function that is not there.
    """
    match section:
        case DuplicatesFilter():
            from tunewright.sources.filters.duplicates import ExactDuplicates

            return ExactDuplicates(section)
        case NearDuplicatesFilter():
            from tunewright.sources.filters.duplicates import NearDuplicates

            return NearDuplicates(section)
        case _:
            return EachRow(section.type, build_check(section))


def build_check(section: Filter) -> Check:
    """Return the check of a filter that looks at rows one by one.

    Raises:
        As `build_filter`. ValueError: a filter that compares rows.
    """
    match section:
        case PythonVersionFilter():
            from tunewright.sources.filters.python_version import python_version_check

            return python_version_check(section)
        case QualityFilter():
            from tunewright.sources.filters.quality import quality_check

            return quality_check(section)
        case MojibakeFilter():
            from tunewright.sources.filters.mojibake import mojibake_check

            return mojibake_check(section)
        case LanguageFilter():
            from tunewright.sources.filters.language import language_check

            return language_check(section)
        case SecretsFilter():
            from tunewright.sources.filters.secrets import secrets_check

            return secrets_check(section)
        case CustomFilter():
            from tunewright.sources.filters.custom import custom_check

            return custom_check(section)
        case _:
            raise ValueError(f"{section.type} compares rows")


def compares_rows(section: Filter) -> bool:
    """True for a filter that must know the rows before, so that processes cannot do it each for itself."""
    return isinstance(section, DuplicatesFilter | NearDuplicatesFilter)


def filter_identities(sections: Sequence[Filter]) -> dict[str, str]:
    """Return what the filters are known by beside their settings, for fingerprints: the file of a custom function.

    Raises:
        UserError: a custom function that is not there.
    """
    from tunewright.sources.filters.custom import function_identity

    return {
        f"filters.{number}": function_identity(section.function)
        for number, section in enumerate(sections)
        if isinstance(section, CustomFilter)
    }
