import json

import pytest

from tunewright.cli.main import main
from tunewright.cli.power import plan


def test_power_says_what_so_many_rows_show(capsys):
    assert main(["power", "--rows", "150", "--discordance", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "150 rows show a true difference of 10." in out and "with 80% power" in out
    assert "10 points" in out and "393" in out


def test_power_as_json_has_both_kinds_and_the_rows_needed(capsys):
    assert main(["power", "--rows", "150", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["least_detectable"]["paired"] < told["least_detectable"]["unpaired"]
    needed = {need["difference"]: need for need in told["needed"]}
    assert 150 < needed[0.1]["paired"] < 190 and needed[0.1]["unpaired"] == 393


def test_groups_that_agree_cost_rows():
    alone = plan(150, 0.2, 1, 0.0, 0.8, 0.95)
    grouped = plan(150, 0.2, 5, 0.5, 0.8, 0.95)
    assert grouped["effective_rows"] == 50
    assert grouped["least_detectable"]["paired"] > alone["least_detectable"]["paired"]
    assert grouped["needed"][4]["unpaired"] == 3 * 393


@pytest.mark.parametrize("flag", ["--discordance", "--power", "--confidence"])
def test_a_share_outside_its_range_is_refused_by_name(flag, capsys):
    assert main(["power", flag, "1.5"]) == 2
    err = capsys.readouterr().err
    assert flag in err and "between 0 and 1" in err
