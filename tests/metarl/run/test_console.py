"""The console command: which recipe a command is of, and what a user is told."""

import json
import warnings

import pytest

from experiments.__main__ import CONSOLE
from metarl import zoo
from metarl.run.commands import warnings_in_one_line
from metarl.run.console import COMMANDS
from metarl.runs.directory import RunDirectory

SMALL = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--hidden-size", "4")
TINY = ("--iterations", "2", "--device", "cpu")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def metarl(capsys):
    """Run a command; its output, which a mistake ends with status 2."""

    def run(*arguments, status=0):
        try:
            CONSOLE.main(arguments)
            ended = 0
        except SystemExit as end:
            ended = end.code or 0
        found = capsys.readouterr()
        assert ended == status, found.err
        return found.err if status else found.out

    return run


def test_help_names_every_command(metarl):
    said = metarl("--help")
    assert all(f"  {name}" in said for name in COMMANDS)
    assert metarl() == said
    assert "unknown command 'lits'" in metarl("lits", status=2)


def test_list_has_a_line_per_agent_with_its_interval(metarl):
    lines = metarl("list").splitlines()
    assert [line.split()[0] for line in lines] == list(zoo.names())
    assert all("[" in line for line in lines)
    assert "takes no mazes13" in metarl("list", "mazes13", status=2)


def test_show_prints_the_card(metarl):
    said = metarl("show", "mazes13", "maze13-warp")
    assert "trained by   metarl train maze --mazes mst" in said
    assert "explorer by rule" in said
    assert "did you mean mazes13" in metarl("show", "mazes12", status=2)
    assert "name an agent" in metarl("show", status=2)
    assert "usage" in metarl("show", "--help")


def test_a_command_that_few_recipes_have_lists_those_alone(metarl):
    said = metarl("sweep", "--help")
    assert "  omniglot" in said
    assert "  maze" not in said


def test_what_is_asked_of_the_wrong_command_is_told_the_right_one(metarl, here):
    said = metarl("compare", "mazes9", "mazes13", status=2)
    assert "`metarl plot mazes9 ...` draws the curves" in said
    metarl("train", "maze", *SMALL, *TINY, "--run-dir", "own")
    assert "`metarl evaluate own` measures it" in metarl("show", "own", status=2)


def test_a_warning_is_one_line_without_a_line_of_the_program():
    with warnings_in_one_line():
        assert warnings.formatwarning("few", UserWarning, "x.py", 3) == "warning: few\n"
    assert warnings.formatwarning("few", UserWarning, "x.py", 3) != "warning: few\n"


def test_train_resume_evaluate_by_the_recipe_of_the_run(metarl, here):
    assert "trained: runs/room" in metarl("train", "maze", *SMALL, *TINY, "--run-dir", "runs/room")
    said = metarl("train", "--resume", "runs/room", "--iterations", "3")
    assert "trained: runs/room" in said
    assert "after 3 iterations" in metarl("evaluate", "runs/room", "--tasks", "5")
    metarl("train", "regression", *TINY, "--seeds", "0", "1", "--run-dir", "runs/sine")
    said = metarl("evaluate", "runs/sine", "--tasks", "5", "--json")
    assert json.loads(said.splitlines()[-1])["num_runs"] == 2
    assert RunDirectory.open(here / "runs/room").config["recipe"] == "experiments.maze"


def test_an_agent_is_evaluated_in_a_copy(metarl, here):
    said = metarl("evaluate", "mazes13", "--tasks", "3", "--json")
    assert "copied: runs/mazes13" in said
    assert (here / "runs/mazes13/checkpoint.pt").is_file()
    assert "copied" not in metarl("evaluate", "mazes13", "--tasks", "3")
    (here / "runs/maze13-warp").mkdir()
    said = metarl("evaluate", "maze13-warp", "--tasks", "3", status=2)
    assert "runs/maze13-warp, where maze13-warp would be copied" in said
    assert not any(zoo.AGENTS.rglob(".lock"))


@pytest.mark.parametrize(
    "words", [("--tasks", "0"), ("--taks", "3"), ("--size", "4"), ("--horizon", "0")]
)
def test_a_refused_evaluation_leaves_no_copy(metarl, here, words):
    metarl("evaluate", "mazes13", *words, status=2)
    assert not list(here.iterdir())


def test_an_agent_is_evaluated_where_no_copy_can_be_made(metarl, here, monkeypatch):
    """The folder cannot be written into, or a copy is cut off: the next one begins again."""
    (here / "runs").write_text("no folder")
    said = metarl("evaluate", "mazes13", "--tasks", "3", status=2)
    assert "mazes13 cannot be copied to runs/mazes13" in said
    assert "evaluate from a folder that can be written into" in said
    metarl("evaluate", "mazes13", "--tasks", "3", "--output", "found")
    assert (here / "found" / "summary.json").is_file()
    (here / "runs").unlink()
    with monkeypatch.context() as patch:

        def cut_off(source, place, **_):
            place.mkdir()
            (place / "config.json").write_text("{")
            raise KeyboardInterrupt

        patch.setattr("shutil.copytree", cut_off)
        metarl("evaluate", "mazes13", "--tasks", "3", status=130)
    assert "copied: runs/mazes13" in metarl("evaluate", "mazes13", "--tasks", "3")
    assert [path.name for path in (here / "runs").iterdir()] == ["mazes13"]


def test_an_agent_is_drawn_where_it_is(metarl, here):
    metarl("render", "mazes13", "--steps", "3", "--output", "trial.png")
    assert [path.name for path in here.iterdir()] == ["trial.png"]


def test_an_agent_is_exported_and_goes_on_as_a_run(metarl, here):
    metarl("export", "mazes13", "--output", "copy")
    assert "return" in metarl("evaluate", "copy", "--tasks", "3")
    assert "there already" in metarl("export", "mazes13", "--output", "copy", status=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "mazes"), "'mazes' is no recipe: metarl train RECIPE [OPTIONS], with one of"),
        (("train", "--iterations", "3"), "'--iterations' is no recipe"),
        (("evaluate", "--tasks", "3"), "name a run or an agent first"),
        (
            ("evaluate", "maze31"),
            "neither a run directory nor an agent of the package",
        ),
        (("watch", "runs/none"), "there is no run directory runs/none"),
        (("sweep", "maze"), "maze has no sweep: it has evaluate"),
        (("play", "regression"), "regression has no play"),
        (("train", "--resume", "none"), "there is no run directory none"),
        (("train", "--resume=none"), "there is no run directory none"),
        (("train", "--iterations", "3", "--resume", "none"), "there is no run directory none"),
        (("train", "--iterations=3", "--resume=none"), "there is no run directory none"),
    ],
)
def test_a_mistake_is_told_in_one_line(metarl, here, words, told):
    said = metarl(*words, status=2)
    assert told in said
    assert len(said.splitlines()) == 1


def test_a_run_of_an_experiment_is_evaluated_from_python(metarl, here):
    RunDirectory.create(here / "own", {}, recipe="metarl.experiment", seed=0).close()
    said = metarl("evaluate", "own", status=2)
    assert "own is a run of metarl.experiment, which has no commands here" in said


@pytest.mark.parametrize("name", ["evaluate", "train", "watch"])
def test_help_before_a_run_or_a_recipe_is_named(metarl, name):
    assert f"usage: metarl {name}" in metarl(name, "--help")


def test_help_of_a_recipe_names_the_command_as_it_was_typed(metarl):
    assert "usage: metarl train regression" in metarl("train", "regression", "--help")
    assert "usage: metarl evaluate" in metarl("evaluate", "mazes13", "--help")
