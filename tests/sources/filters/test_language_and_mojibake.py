"""Languages and wrong encodings, by the libraries that know them."""

from __future__ import annotations

import pytest
from tests.sources.filters.rows import row

from tunewright.errors import DataError
from tunewright.recipe.data_sections import LanguageFilter, MojibakeFilter
from tunewright.sources.filters.build import build_check
from tunewright.sources.filters.protocol import Removed

GERMAN = "Wie wird das Wetter morgen in Berlin? Es soll am Vormittag regnen, und am Nachmittag scheint die Sonne."
ENGLISH = "What will the weather be like in Berlin tomorrow? It should rain in the morning and be sunny later."
FRENCH = "Quel temps fera-t-il demain à Berlin ? Il devrait pleuvoir le matin, et le soleil brillera ensuite."


def test_rows_of_another_language_go_and_short_ones_and_code_stay():
    pytest.importorskip("py3langid")
    check = build_check(LanguageFilter(type="language", keep=["en"]))
    assert check(row(ENGLISH, ENGLISH)).messages
    for text, code in ((GERMAN, "de"), (FRENCH, "fr")):
        found = check(row(text, text))
        assert isinstance(found, Removed) and found.reason == f"language {code}"
    assert not isinstance(check(row("Ja.", "Gut so?")), Removed)
    assert not isinstance(check(row(f"```\n{GERMAN}\n```", "Code?")), Removed)
    assert not isinstance(build_check(LanguageFilter(type="language", keep=["de", "fr"]))(row(FRENCH, FRENCH)), Removed)


def test_a_language_that_is_not_known_is_refused_before_any_row():
    pytest.importorskip("py3langid")
    with pytest.raises(DataError, match="no language 'english'"):
        build_check(LanguageFilter(type="language", keep=["english"]))


def test_wrong_encodings_are_repaired_and_nothing_else_is_touched():
    pytest.importorskip("ftfy")
    check = build_check(MojibakeFilter(type="mojibake"))
    damaged = "It’s an été — “quoted” &amp; ﬁne".encode().decode("windows-1252", "replace").replace("�", "")
    assert check(row("It’s fine".encode().decode("windows-1252"))).answer["content"] == "It’s fine"
    assert (
        check(row("Ein schöner Tag für Käse".encode().decode("latin-1"))).answer["content"]
        == "Ein schöner Tag für Käse"
    )
    for clean in ("It’s an été — “quoted” &amp; ﬁne\r\n", "Ångström, Ñandú, Été", "日本語の文", ENGLISH, GERMAN):
        before = row(clean)
        assert check(before) is before
    assert isinstance(damaged, str)


def test_what_cannot_be_repaired_goes_and_all_damage_goes_when_asked():
    pytest.importorskip("ftfy")
    lost = row("It�s gone")
    found = build_check(MojibakeFilter(type="mojibake"))(lost)
    assert isinstance(found, Removed) and found.reason == "damaged characters"
    harmed = row("It’s fine".encode().decode("windows-1252"))
    assert isinstance(build_check(MojibakeFilter(type="mojibake", action="remove"))(harmed), Removed)
