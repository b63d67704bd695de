import json
import re
from html.parser import HTMLParser

import pytest
from sample_run import HOSTILE, SampleRun, complete_run

from tunewright.artifacts.files import read_json
from tunewright.artifacts.verdict import judge
from tunewright.reports import words
from tunewright.reports.parts import CURVES, PARTS
from tunewright.reports.report import write_report

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """A page as a browser would take it apart: tags with attributes, text by tag, tables as rows of text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.rows, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)
            if "tr" in self.open:
                self.rows[-1] += data + " "

    @property
    def said(self):
        return " ".join(" ".join(self.text).split())

    def ids(self):
        return {attrs.get("id") for _, attrs in self.tags}


def page_of(run):
    return write_report(run).read_text(encoding="utf-8")


def embedded(html):
    return json.loads(re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.S)[1])


def test_the_verdict_stands_first(run):
    page = Page(page_of(run))
    first = page.said.index("calls tools better: args exact 0% → 45.3%")
    assert all(first < page.said.index(later, first) for later in ("paired by row", "Training", "Provenance"))
    assert ("h1", {}) in page.tags


def test_the_page_asks_nobody_for_anything(run):
    html = page_of(run)
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    assert "url(" not in style and "@import" not in style
    script = re.search(r"<script>(.*?)</script>", html, re.S)[1]
    assert not re.search(r"https?:|fetch\(|XMLHttp|import\(|WebSocket|sendBeacon", script)


def test_the_page_allows_only_its_own_script(run):
    html = page_of(run)
    policy = next(a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_the_script_never_turns_text_into_markup(run):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", page_of(run))


def test_hostile_answers_are_inert_and_whole(run):
    html = page_of(run)
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2 and "img" not in tags and "iframe" not in tags
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    said = {answer["text"] for row in embedded(html)["browser"]["rows"] for answer in row["answers"]}
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[5]} <= said


def test_markup_in_training_rows_and_recipe_is_shown_as_text(run):
    page = Page(page_of(run))
    assert "</script>" in page.said.replace(" ", "") and "<b>as written</b>" in page.said


def test_the_page_of_the_tour_is_light(run):
    assert write_report(run).stat().st_size < 600_000


def test_the_numbers_of_the_page_are_those_of_the_comparison(run):
    comparison = read_json(run.stage_folder("compare") / "comparison.json")
    rows = Page(page_of(run)).rows
    for test in [*comparison["tests"], *comparison["beside"][0]["tests"]]:
        wanted = [
            words.metric_label(test["metric"]),
            f"{words.percent(test['baseline'])} → {words.percent(test['candidate'])}",
            words.points(test["difference"]),
            words.interval(*test["interval"]),
            words.p_value(test["p_value"]),
            f"{test['gained']} / {test['lost']}",
            test["verdict"],
        ]
        assert any(all(text in " ".join(row.split()) for text in wanted) for row in rows), wanted


def test_every_measure_states_its_interval_and_denominator(run):
    page = Page(page_of(run))
    labels = [attributes["aria-label"] for tag, attributes in page.tags if "whisker" in attributes.get("class", "")]
    assert "tuned: args exact 45.3%, 95% interval 37.6 to 53.3" in labels
    assert page.said.count("rows that expect a call, n = 150") == 4


def test_the_browser_knows_what_became_of_each_row(run):
    browser = embedded(page_of(run))["browser"]
    test = next(
        t for t in read_json(run.stage_folder("compare") / "comparison.json")["tests"] if t["metric"] == "args_exact"
    )
    outcomes = [row["outcome"] for row in browser["rows"]]
    assert (outcomes.count("gained"), outcomes.count("lost"), len(outcomes)) == (test["gained"], test["lost"], 150)
    assert [column["label"] for column in browser["columns"]] == ["base", "base, 3 worked examples", "tuned"]


def test_the_curves_carry_their_numbers(run):
    curves = embedded(page_of(run))["curves"]
    assert set(curves) == {f"sft.{column}" for column, *_ in CURVES}
    assert curves["sft.loss"]["x"] == list(range(1, 101))
    assert curves["sft.learning_rate"]["mean"] == []


def test_gates_tell_what_was_measured_the_bound_and_the_remedy(run):
    said = Page(page_of(run)).said
    assert all(text in said for text in ("gradient_clipped", "31% of the steps", "under 25%", "lower learning_rate"))


def test_rows_by_source_tell_what_was_kept_shortened_and_dropped(run):
    rows = [" ".join(row.split()) for row in Page(page_of(run)).rows]
    assert "bfcl/simple_python 400 398 (31 with fewer tools) 2 longer than 2,048 tokens" in rows
    assert "bfcl/multiple 458 452 5 no acceptable call, 1 twice" in rows


def test_provenance_tells_how_to_do_it_again(run):
    said = Page(page_of(run)).said
    assert "git checkout 4f6c2a91d0be7735a1c9e8b2f4405d6e7a8b9c0d tw run recipes/tour.yaml" in said
    assert all(text in said for text in ("torch 2.13.0", "gguf:sha256:abab", "efefef", "with uncommitted changes"))


def test_a_failed_gate_cannot_be_overlooked(sample):
    sample.data(judge("split_leak_names", False, measured="12 names", bound="0", remedy="split by function"))
    page = Page(page_of(sample.state("failed", error="gate split_leak_names FAILED")))
    assert any("alert loud" in attributes.get("class", "") for _, attributes in page.tags)
    assert page.said.index("Gate split_leak_names failed") < page.said.index("What it was trained on")
    assert "gate split_leak_names FAILED" in page.said


def test_a_stopped_run_says_so_and_what_to_do(sample):
    sample.data()
    sample.stages["before"]["status"] = "running"
    said = Page(page_of(sample.state("stopped"))).said
    assert "The run was stopped at stage before" in said
    assert "Give tw run recipes/tour.yaml again: it goes on where it stopped" in said


@pytest.mark.parametrize(
    ("stages", "present", "absent"),
    [
        ((), (), ("measured", "training", "answers", "samples", "data", "gates", "provenance", "cost")),
        (("data",), ("samples", "data", "gates", "provenance", "cost"), ("measured", "training", "answers")),
        (("data", "before"), ("measured", "answers", "data"), ("training",)),
        (("data", "before", "before-few-shot", "sft"), ("measured", "training", "answers"), ()),
    ],
)
def test_what_did_not_run_is_left_out_with_a_line_why(sample, stages, present, absent):
    for stage_id in stages:
        {"data": sample.data, "sft": sample.sft}.get(stage_id, lambda name=stage_id: sample.evaluate(name))()
    html = page_of(sample.state("stopped"))
    page = Page(html)
    sections = {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    assert set(present) <= sections and not set(absent) & sections
    assert page.said.count("is left out:") == len(PARTS) - len(sections)


def test_a_run_without_compare_shows_its_measures_and_claims_nothing(sample):
    sample.data()
    sample.evaluate("before")
    said = Page(page_of(sample.state("done"))).said
    assert "This run compared nothing, so it shows nothing" in said and "No paired comparison" in said
    assert "better" not in said.partition("Before and after")[0]


def test_a_file_that_is_gone_leaves_its_part_out(run):
    (run.stage_folder("after") / "scores.jsonl").unlink()
    (run.stage_folder("sft") / "metrics.jsonl").unlink()
    page = Page(page_of(run))
    assert page.said.count("is left out:") == 2 and "metrics.jsonl: no such file" in page.said


def test_reused_stages_say_from_where_and_cost_nothing_again(tmp_path):
    first = complete_run(tmp_path / "runs")
    second = SampleRun(tmp_path / "runs", learning_rate=2e-3)
    second.reuse("data", first)
    second.reuse("before", first)
    page = Page(page_of(second.state("stopped")))
    assert "reused from tour/1: same fingerprint" in page.said and "reuse saved 54 s" in page.said
    assert "sft.learning_rate: 0.001 -> 0.002" in page.said


def test_headings_and_charts_can_be_read_without_eyes(run):
    page = Page(page_of(run))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1 and tags.count("main") == 1
    assert all(attributes.get("aria-label") or attributes.get("aria-hidden") for tag, attributes in page.tags
               if tag == "svg" and attributes.get("class"))  # fmt: skip
    labelled = [attributes["aria-labelledby"] for tag, attributes in page.tags if tag == "section"]
    assert set(labelled) <= page.ids()


def test_every_pair_of_three_systems_is_set_against_each_other(run):
    rows = [row for row in Page(page_of(run)).rows if "Holm" not in row]
    assert any(row.split()[0] == "tuned" and row.count("better") == 2 for row in rows)


def test_what_moved_is_told_by_failure_and_tool_with_rows_to_open(run):
    page = Page(page_of(run))
    assert any(row.startswith("no call") and "76% → 0%" in row for row in page.rows)
    assert any(row.startswith("get_weather") for row in page.rows)
    buttons = {attributes["data-open"] for tag, attributes in page.tags if "data-open" in attributes}
    assert buttons <= {row["id"] for row in embedded(page_of(run))["browser"]["rows"]}
    assert buttons


def test_how_answers_were_made_is_told_for_each_evaluation(run):
    said = Page(page_of(run)).said
    assert said.count("greedy, up to 96 tokens") == 3
    assert said.count("said before it ran 150 rows in 40 groups can show") == 3


def test_an_answer_that_could_not_be_scored_is_no_wrong_one(sample):
    rows = sample.scored["after"]
    sample.scored["after"] = [rows[0].model_copy(update={"error": "the server timed out", "scores": {}}), *rows[1:]]
    for stage in ("data", "before", "before-few-shot", "sft", "after"):
        getattr(sample, stage)() if stage in ("data", "sft") else sample.evaluate(stage)
    first = embedded(page_of(sample.run))["browser"]["rows"][0]
    assert first["outcome"] is None
    assert first["answers"][-1]["class"] == "not scored"
    assert first["answers"][-1]["reason"] == "the server timed out"


def with_inference(run, stage_id, **changes):
    """The same run, one of whose evaluations asked its model in another way."""
    path = run.path / run.stage_folder(stage_id).name / "record.json"
    record = json.loads(path.read_text())
    record["result"].update({key: value for key, value in changes.items() if key in record["result"]})
    record["result"]["inference"].update(changes)
    path.write_text(json.dumps(record))
    return run


def test_systems_that_were_asked_alike_raise_no_alert(run):
    assert "not asked alike" not in Page(page_of(run)).said


@pytest.mark.parametrize(
    ("stage", "changes", "told"),
    [
        ("after", {"system": "Be terse."}, "system text: base the row's own, tuned “Be terse.”"),
        (
            "after",
            {"template_kwargs": {"enable_thinking": False}},
            "template settings: base none, tuned enable_thinking",
        ),
        ("after", {"shots": 3}, "worked examples: base 0, tuned, 3 worked examples 3"),
        ("before-few-shot", {"system": "Be terse."}, "base, 3 worked examples “Be terse.”, tuned the row's own"),
        ("after", {"prompt_parity": "7 of 150 requests say what the rows say"}, "tuned: 7 of 150 requests say"),
    ],
)
def test_systems_that_were_not_asked_alike_are_told_in_red(run, stage, changes, told):
    page = Page(page_of(with_inference(run, stage, **changes)))
    assert "The compared systems were not asked alike." in page.said and told in page.said
    assert any("alert loud" in attributes.get("class", "") for _, attributes in page.tags)


def test_requests_that_say_all_that_the_rows_say_are_asked_alike(run):
    assert "not asked alike" not in Page(page_of(with_inference(run, "after", prompt_parity="150 of 150 say …"))).said


def test_a_comparison_of_before_the_slices_does_not_say_that_no_row_moved(run):
    path = run.path / run.stage_folder("compare").name / "record.json"
    record = json.loads(path.read_text())
    del record["result"]["changes"]
    path.write_text(json.dumps(record))
    said = Page(page_of(run)).said
    assert "an older version compared them" in said and "no row moved" not in said
