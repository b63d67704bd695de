"""The list of flags is frozen: a recipe's fields are set with `--set`, and with nothing else."""

from tunewright.cli.main import VERBS, command_of
from tunewright.recipe.explain import entries

FLAGS = {
    "--all",
    "--allow",
    "--answer",
    "--answers",
    "--by-position",
    "--cluster",
    "--cluster-size",
    "--column",
    "--confidence",
    "--dataset",
    "--discordance",
    "--entropy-aware",
    "--epochs",
    "--filter",
    "--force",
    "--format",
    "--gpus",
    "--help",
    "--icc",
    "--item",
    "--json",
    "--kind",
    "--limit",
    "--model",
    "--name",
    "--open",
    "--output",
    "--port",
    "--power",
    "--processes",
    "--python",
    "--rows",
    "--seed",
    "--set",
    "--sign",
    "--space",
    "--static",
    "--steps",
    "--test",
    "--tokens",
    "--trials",
}
# `init` and `finetune` write a recipe: there these words are what the new recipe shall say. The others read none: what
# they are given on the command line stands in no recipe.
WRITERS = {"init", "finetune", "eval", "tune", "power", "grade", "server", "data"}


def flags_of(verb: str) -> set[str]:
    command = command_of(verb)
    with command.make_context(verb, [], resilient_parsing=True) as context:
        options = [
            option for parameter in command.get_params(context) for option in parameter.opts + parameter.secondary_opts
        ]
    return {option for option in options if option.startswith("-")}


def test_no_flag_is_new():
    assert set().union(*(flags_of(verb) for verb in VERBS)) <= FLAGS


def test_no_listed_flag_is_gone():
    assert set().union(*(flags_of(verb) for verb in VERBS)) == FLAGS


def test_no_flag_mirrors_a_field_of_the_recipe():
    fields = {"--" + entry.name.replace("_", "-") for entry in entries()}
    for verb in set(VERBS) - WRITERS:
        assert not (flags_of(verb) & fields) - {"--limit"}, verb  # `--limit` of `show` is about lines on the screen


def test_every_verb_takes_json():
    for verb in VERBS:
        assert "--json" in flags_of(verb), verb
