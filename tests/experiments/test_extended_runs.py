"""Every script's ``--resume RUN --iterations M``: the run is as if it had been made for M."""

import json

import pytest

from metarl.plots.runs import group_runs
from metarl.runs.seeds import find_runs
from metarl.train.loop import MetaTraining, Schedule
from tests.experiments.omniglot_runs import assert_equal, tiny_archives
from tests.experiments.scripts import alphabets, maze, maze_adapt, omniglot, regression

EVERY = ("--log-every", "3", "--checkpoint-every", "2", "--device", "cpu")
CONSTANT = ("--decay", "constant")
MAZE = ("--size", "5", "--horizon", "4", "--batch-size", "2", "--hidden-size", "4")
MAZE += ("--decay", "constant", *EVERY)
IN_WINDOWS = ("--preset", "ppo", "--minibatch-trials", "1", "--truncate", "3")
ADAPT = ("--env", "gridnavi", "--horizon", "3", "--meta-batch", "2", *EVERY)
REGION = (*ADAPT, "--episodes", "2", "--hidden", "3")
GRADIENT = (*REGION, *CONSTANT)
TRIALS = (*ADAPT, "--trial-episodes", "2", "--hidden-size", "4")
TRIALS += ("--decay", "constant")
PPO = (*ADAPT, "--episodes", "2", "--hidden", "3", "--decay", "constant")
CURVES = ("--meta-batch", "2", "--points", "4", "--query-points", "3", "--hidden", "4")
CURVES += ("--decay", "constant", *EVERY)
CHARACTERS = ("--no-complete", "--meta-batch", "2", "--filters", "2", "--validate-every", "3")
CHARACTERS += ("--decay", "constant", *EVERY)
FEW = (*CHARACTERS, "--ways", "2", "--train-characters", "10", "--validation-characters", "4")
FEW += ("--validation-tasks", "2", "--no-rotations")
MANY = (*CHARACTERS, "--preset", "fast", "--pretrain", "2")
MANY += ("--test-alphabets", "2", "--validation-alphabets", "1", "--classes", "3")
MANY += ("--held-out", "1", "--test-steps", "2", "--inner-steps", "2")
MANY += ("--images.batch-size", "3")
SEEDS = ("--seeds", "0", "4")

RUNS = {
    "maze warp": (maze, MAZE, SEEDS),
    "maze lstm": (maze, (*MAZE, "--method", "lstm"), ()),
    "maze ppo": (maze, ("--preset", "ppo", *MAZE), ()),
    "maze minibatches": (maze, (*MAZE, "--preset", "ppo", "--minibatch-trials", "1"), ()),
    "maze transformer in windows": (
        maze,
        (*MAZE, *IN_WINDOWS, "--method", "transformer", "--core-sizes", "layers=1"),
        (),
    ),
    "maze linear attention in windows": (
        maze,
        (*MAZE, "--method", "warp-rnn", "--core", "linear-attention", "--truncate", "3"),
        SEEDS,
    ),
    "adapt maml": (maze_adapt, (*GRADIENT, "--method", "maml"), SEEDS),
    "adapt promp": (maze_adapt, (*GRADIENT, "--method", "promp"), ()),
    "adapt trpo-maml": (maze_adapt, (*REGION, "--method", "trpo-maml"), ()),
    "adapt reptile": (maze_adapt, (*GRADIENT, "--method", "reptile"), ()),
    "adapt rl2": (maze_adapt, (*TRIALS, "--method", "rl2"), SEEDS),
    "adapt warp-rnn": (maze_adapt, (*TRIALS, "--method", "warp-rnn"), ()),
    "adapt ppo": (maze_adapt, (*PPO, "--method", "ppo"), SEEDS),
    "adapt recurrent-ppo": (maze_adapt, (*TRIALS, "--method", "recurrent-ppo"), ()),
    "regression maml": (regression, CURVES, SEEDS),
    "regression leap": (regression, (*CURVES, "--method", "leap"), ()),
    "regression daml": (regression, (*CURVES, "--family", "sine-domain"), ()),
    "regression warp-leap": (
        regression,
        (*CURVES, "--method", "warp-leap", "--warp-algorithm", "offline"),
        (),
    ),
    "few-shot maml": (omniglot, FEW, SEEDS),
    "few-shot reptile": (
        omniglot,
        (*FEW, "--method", "reptile", "--train-shots", "2", "--inner-batch", "2"),
        (),
    ),
    "multi-shot leap": (alphabets, (*MANY, "--method", "leap"), SEEDS),
    "multi-shot warp-leap": (alphabets, (*MANY, "--method", "warp-leap"), ()),
}
ONE_EACH = ("maze warp", "adapt maml", "adapt rl2", "few-shot maml", "regression maml")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_archives(tmp_path_factory.mktemp("data"))


@pytest.fixture
def command(data):
    def of(name, *words):
        main, _, _ = RUNS[name]
        main(["train", *words, *(("--data", str(data)) if main in (omniglot, alphabets) else ())])

    return of


@pytest.fixture
def start(command, tmp_path):
    def made(name, folder, iterations, *more):
        _, arguments, seeds = RUNS[name]
        words = (*arguments, *seeds, *more, "--iterations", str(iterations))
        command(name, *words, "--run-dir", str(tmp_path / folder))
        return tmp_path / folder

    return made


def left_by(run):
    state = run.load_checkpoint()
    del state["wall_seconds"]
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return state, [{n: v for n, v in row.items() if n != "wall_seconds"} for row in rows]


def files_of(path):
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_4_that_is_extended_to_8_is_a_run_of_8_bit_for_bit(start, command, name, capsys):
    whole, cut = start(name, "whole", 8), start(name, "cut", 4)
    capsys.readouterr()
    command(name, "--resume", str(cut), "--iterations", "8")
    assert capsys.readouterr().out.count("trained: ") == len(find_runs(cut))
    for one, other in zip(find_runs(whole), find_runs(cut), strict=True):
        (state, rows), (found, found_rows) = left_by(one), left_by(other)
        assert rows == found_rows
        assert_equal(state, found, "state")
        (entry,) = other.config["resumed"]
        assert entry["changed_from"] == {"iterations": 4}
        changing = ("provenance", "run_dir", "resumed")
        one, other = (
            {n: v for n, v in r.config.items() if n not in changing} for r in (one, other)
        )
        assert one == other


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_finished_run_says_so_and_stays_as_it_is(start, command, name, capsys):
    path = start(name, "run", 4)
    before = files_of(path)
    capsys.readouterr()
    for more in ((), ("--iterations", "4")):
        command(name, "--resume", str(path), *more)
        said = capsys.readouterr().out.splitlines()
        reached = "already at its last iteration (4 of 4); --iterations M goes on to more"
        assert said == [f"{run.path}: {reached}" for run in find_runs(path)]
    assert files_of(path) == before


@pytest.mark.parametrize("name", ONE_EACH)
def test_other_numbers_are_refused_and_other_settings_by_name(start, command, name, capsys):
    path = start(name, "run", 4)
    before = files_of(path)
    for more, message in (
        (("--iterations", "3"), "has done 4 iterations already, it cannot end at 3; name 4 or"),
        (("--iterations", "0"), "--iterations must be at least 1"),
        (
            ("--checkpoint-every", "9"),
            "--iterations, --native and --log alone may be others",
        ),
        (("--iterations", "9", "--log_every=3", "--seeds", "0"), "drop --log_every, --seeds"),
        (("--run-dir", "x"), "drop --run-dir"),
    ):
        with pytest.raises(SystemExit) as exit_:
            command(name, "--resume", str(path), *more)
        assert exit_.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert files_of(path) == before


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_setting_is_refused_also_where_it_is_the_usual_one(start, command, name, capsys):
    """It is not the run's; the number of iterations may be the usual one too."""
    path = start(name, "run", 4)
    usual = {"maze warp": "30", "few-shot maml": "32", "regression maml": "25"}.get(name, "20")
    option = "--batch-size" if name == "maze warp" else "--meta-batch"
    with pytest.raises(SystemExit):
        command(name, "--resume", str(path), option, usual)
    assert f"drop {option}\n" in capsys.readouterr().err


def test_the_usual_number_of_iterations_counts_as_any_other(start, command, monkeypatch):
    path = start("adapt maml", "run", 4)
    totals = []
    monkeypatch.setattr(MetaTraining, "run", lambda self: totals.append(self.settings.iterations))
    command("adapt maml", "--resume", str(path), "--iterations", "600")
    assert totals == [600, 600]


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("name", ["maze warp", "adapt maml", "adapt ppo", "regression leap"])
def test_a_schedule_follows_the_new_total_from_there_on(start, command, monkeypatch, name, decay):
    option = ("--decay", decay)
    whole, cut = start(name, "whole", 8, *option), start(name, "cut", 4, *option)
    seen = []
    iterate = MetaTraining._iterate

    def watched(self):
        found = iterate(self)
        seen.append(rates_in(self.learner.agent_state(0)))
        return found

    monkeypatch.setattr(MetaTraining, "_iterate", watched)
    command(name, "--resume", str(cut), "--iterations", "8")
    one, other = (find_runs(path)[0].load_checkpoint()["learner"] for path in (whole, cut))
    assert rates_in(one) == rates_in(other) == seen[3]
    factors = [Schedule(decay).factor(iteration, 8) for iteration in range(4, 8)]
    for rates, factor in zip(seen[:4], factors, strict=True):
        assert rates == pytest.approx([rate * factor / factors[0] for rate in seen[0]])


def test_seeds_of_different_numbers_of_iterations_are_not_guessed(start, command, capsys):
    path = start("regression maml", "run", 4)
    command("regression maml", "--resume", str(path / "seed-4"), "--iterations", "6")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        command("regression maml", "--resume", str(path))
    said = capsys.readouterr().err
    assert f"({path / 'seed-0'} 4, {path / 'seed-4'} 6)" in said
    assert "name one for all of them with --iterations" in said
    command("regression maml", "--resume", str(path), "--iterations", "6")
    said = capsys.readouterr().out
    assert f"trained: {path / 'seed-0'}" in said
    assert f"{path / 'seed-4'}: already at its last iteration (6 of 6)" in said


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_kill_between_the_configs_of_two_seeds_loses_nothing(start, command, name, capsys):
    if name == "adapt maml":
        name = "adapt ppo"
    whole, cut = start(name, "whole", 4), start(name, "cut", 4)
    first, second = find_runs(cut)
    for file in cut.rglob("*"):
        if file.is_file() and file != first.path / "config.json":
            file.unlink()  # the second folder is there, and nothing in it
    command(name, "--resume", str(cut))
    for one, other in zip(find_runs(whole), find_runs(cut), strict=True):
        (state, rows), (found, found_rows) = left_by(one), left_by(other)
        assert rows == found_rows
        assert_equal(state, found, "state")
        assert one.config.keys() == other.config.keys()


def test_a_kill_before_the_first_config_begins_again(start, command, capsys):
    path = start("regression maml", "run", 4)
    for file in path.rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(SystemExit):
        command("regression maml", "--resume", str(path))
    assert f"nothing has been written yet; begin with --run-dir {path}" in capsys.readouterr().err
    start("regression maml", "run", 4)


def test_one_line_is_drawn_of_seeds_of_which_one_was_extended(start, command):
    one = start("regression leap", "one", 8)
    other = start("regression leap", "other", 4)
    command("regression leap", "--resume", str(other), "--iterations", "8")
    assert list(group_runs([*find_runs(one), *find_runs(other)])) == ["leap"]


def rates_in(state):
    """The learning rates in the states of optimisers, wherever they are."""
    if isinstance(state, dict):
        own = [float(state["lr"])] if "lr" in state else []
        return own + [rate for value in state.values() for rate in rates_in(value)]
    if isinstance(state, list | tuple):
        return [rate for value in state for rate in rates_in(value)]
    return []
