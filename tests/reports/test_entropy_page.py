import json
import re

import pytest
from sample_tokens import ANSWER, HOSTILE, PROMPT, token_rows, write_analysis
from test_report_page import Page, embedded

from tunewright.errors import DataError
from tunewright.reports import entropy
from tunewright.reports.entropy import heat_level, render_entropy, shift_level, write_entropy_page
from tunewright.stats.token_entropy import entropy_change, entropy_summary


@pytest.fixture
def one(tmp_path):
    return render_entropy(write_analysis(tmp_path / "entropy", token_rows()))


@pytest.fixture
def two(tmp_path):
    return render_entropy(write_analysis(tmp_path / "entropy", token_rows(), token_rows(sure=0.2)))


def test_hostile_tokens_are_shown_as_text_and_nothing_of_them_runs(one, two):
    for html in (one, two):
        page = Page(html)
        tags = [tag for tag, _ in page.tags]
        assert tags.count("script") == 2 and "img" not in tags
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert "<script>document.title='owned'</script>" in page.said and "{{ 7 * 7 }}&lt;b&gt;" in page.said
        assert "\x1b" not in html and "\u202e" not in html and "⟨U+202E⟩⟨U+001B⟩" in page.said


def test_the_page_asks_nobody_for_anything(two):
    for tag, attributes in Page(two).tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", two, re.S)[1]
    script = re.search(r"<script>(.*?)</script>", two, re.S)[1]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"https?:|fetch\(|XMLHttp|import\(|innerHTML|insertAdjacent|document\.write|eval\(", script)
    policy = next(a["content"] for _, a in Page(two).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_every_token_stands_once_in_the_text_and_once_in_the_data(one):
    heat = re.findall(r'<div class="text heat".*?</div>', one, re.S)
    marks = sum(text.count("<i>") + text.count("<i class=") for text in heat)
    data = embedded(one)
    assert sum("heat" in a.get("class", "").split() for _, a in Page(one).tags) == 4  # the script takes all of them
    assert len(heat) == 4 and marks == 4 * (1 + len(PROMPT) + len(ANSWER)) == len(data["models"][0])


def test_the_data_holds_what_the_model_would_rather_have_said(one):
    data = embedded(one)
    words, token = data["words"], data["models"][0][2]
    told = token_rows()[0].tokens[2]
    assert (words[token[0]], words[token[1]], token[4]) == ("␣is", "user", told.rank)
    assert token[2] == pytest.approx(told.entropy, rel=1e-3) and token[3] == pytest.approx(told.nll, rel=1e-3)
    assert [words[at] for at in token[5][::2]][2:] == ["␣a", "↵", "(part of a character)"]
    assert data["models"][0][0][2:] == [None, None, None, []]


def test_the_figures_are_those_of_the_summary(one):
    summary, page = entropy_summary(token_rows()), Page(one)
    mean = f"{summary.trained.mean_entropy:.3g}"
    assert f"mean entropy {mean} nats, 95% interval" in page.said
    (row,) = [row for row in page.rows if row.startswith("assistant (trained)")]
    assert f" {summary.trained.tokens} " in row and f" {mean} " in row
    forks = [" ".join(row.split()) for row in page.rows if "%" not in row]
    for fork in summary.forks:
        assert any(f"{fork.tokens} {fork.mean_entropy:.3g} {fork.mean_nll:.3g}" in row for row in forks)


def test_two_models_are_told_apart_by_difference_and_interval(two):
    change, page = entropy_change(token_rows(), token_rows(sure=0.2)), Page(two)
    assert "model B <i> is surer than model A <i>: mean entropy" in page.said
    assert f"difference −{abs(change.difference):.3g} nats, 95% interval" in page.said
    assert {"changed", "text", "forks"} <= page.ids()
    assert [a["value"] for _, a in page.tags if a.get("name") == "view"] == ["d", "a", "b"]


def test_a_model_against_itself_shows_nothing(tmp_path):
    said = Page(render_entropy(write_analysis(tmp_path / "same", token_rows(), token_rows()))).said
    assert "Not shown that model B <i> is surer or less sure than model A <i>" in said
    assert said.count("None, by more than a hundredth of a nat") == 2


def test_one_row_has_no_interval_and_says_so(tmp_path):
    said = Page(render_entropy(write_analysis(tmp_path / "one", token_rows(1)))).said
    assert "too few rows for an interval" in said


def test_long_texts_are_left_out_of_the_drawing_and_counted_in_the_figures(tmp_path):
    rows = token_rows(600)
    html = render_entropy(write_analysis(tmp_path / "many", rows))
    drawn = html.count('<div class="text heat"')
    assert drawn < 600 and drawn * len(rows[0].tokens) <= entropy.MOST_DRAWN_TOKENS
    assert f"{drawn} of 600 rows are drawn" in Page(html).said
    assert f"{600 * len(ANSWER):,} answer tokens in 600 rows" in Page(html).said


def test_the_colours_follow_fixed_steps_in_nats():
    assert [heat_level(nats) for nats in (0.0, 0.049, 0.05, 0.3, 0.7, 1.5, 3.0, 9.0)] == [0, 0, 1, 2, 3, 4, 5, 6]
    assert heat_level(None) == 0
    assert [shift_level(nats) for nats in (-3, -0.6, -0.1, 0.0, 0.01, 0.1, 0.6, 3)] == [-3, -2, -1, 0, 0, 1, 2, 3]


def test_every_chart_and_section_can_be_read_without_eyes(two):
    page = Page(two)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1 and tags.count("main") == 1
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in page.tags if tag == "svg" and a.get("class"))
    labelled = [attributes["aria-labelledby"] for tag, attributes in page.tags if tag == "section"]
    assert set(labelled) <= page.ids()
    assert all(a.get("tabindex") == "0" for _, a in page.tags if a.get("class") == "text heat")


def test_the_page_is_written_where_it_is_wanted(tmp_path):
    folder = write_analysis(tmp_path / "entropy", token_rows())
    page = write_entropy_page(folder, tmp_path / "page.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("broken", ["{}", '{"models": [{"label": "C"}], "rows_from": ""}', "[]"])
def test_a_folder_that_is_no_analysis_is_a_clean_error(tmp_path, broken):
    folder = write_analysis(tmp_path / "entropy", token_rows(1))
    (folder / "summary.json").write_text(broken)
    with pytest.raises(DataError, match="not an analysis"):
        render_entropy(folder)


def test_a_hostile_word_cannot_end_the_embedded_data(one):
    block = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', one, re.S)[1]
    assert "<" not in block and HOSTILE[1].replace(" ", "␣") in json.loads(block)["words"]
