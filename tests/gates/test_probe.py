from tunewright.artifacts.probed import ProbeResult
from tunewright.gates.probe import grade, model_is_what_it_claims, signs
from tunewright.stages.probe.measure import rate

READS = rate("natural_text", [True] * 16)


def of(name, successes, trials):
    return rate(name, [True] * successes + [False] * (trials - successes))


def lift(low, high):
    return ProbeResult(
        name="template_lift", value=(low + high) / 2, low=low, high=high, trials=16, successes=None, unit="nats a token"
    )


# What a true base shows: some instructions met by chance, some texts ended, a form that does not help.
BASE = [READS, of("instructions", 6, 32), of("stops_by_itself", 4, 48), of("stops_in_form", 1, 32), lift(-1.4, -0.6)]
INSTRUCT = [READS, of("instructions", 26, 32), of("stops_by_itself", 40, 48), of("stops_in_form", 31, 32), lift(0.6, 1)]
EXPOSED = [READS, of("instructions", 7, 32), of("stops_in_form", 16, 32), lift(-0.2, 0.4)]


def test_a_base_is_told_from_an_assistant_and_from_one_that_saw_some_chats():
    assert [grade(results) for results in (BASE, EXPOSED, INSTRUCT)] == ["BASE", "INSTRUCT-EXPOSED", "INSTRUCT"]


def test_a_contaminated_base_fails_and_a_clean_one_passes():
    assert [model_is_what_it_claims(results, "base").status for results in (BASE, EXPOSED, INSTRUCT)] == [
        "PASSED",
        "FAILED",
        "FAILED",
    ]


def test_an_assistant_passes_as_one_a_half_one_warns_and_a_base_fails():
    assert [model_is_what_it_claims(results, "instruct").status for results in (BASE, EXPOSED, INSTRUCT)] == [
        "FAILED",
        "WARNED",
        "PASSED",
    ]


def test_where_nothing_is_claimed_nothing_fails():
    assert {model_is_what_it_claims(results, None).status for results in (BASE, EXPOSED, INSTRUCT)} == {"PASSED"}


def test_a_model_that_reads_no_language_is_no_clean_base():
    verdict = model_is_what_it_claims([of("natural_text", 8, 16), *BASE[1:]], "base")
    assert verdict.status == "WARNED" and "reads no language (8/16)" in verdict.measured


def test_a_rate_that_chance_may_have_made_is_no_sign():
    assert signs([of("identity", 2, 8), of("refusals", 1, 8), of("stops_in_form", 2, 32)]) == []


def test_the_verdict_names_the_signs_with_their_numbers_and_says_what_to_do():
    verdict = model_is_what_it_claims(INSTRUCT, "base", evidence="probe.json")
    assert verdict.measured.startswith("INSTRUCT: instructions 26/32, stops_by_itself 40/48")
    assert "template_lift +0.80 nats a token" in verdict.measured
    assert "base weights" in verdict.remedy and verdict.evidence == "probe.json"
    assert model_is_what_it_claims(BASE, "base").remedy == ""
