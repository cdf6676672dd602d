"""The loop: schedules, metrics, checkpoints, interruption, resume bit for bit."""

import itertools
import os
import re
import signal

import pytest
import torch

from metarl.core import Schedule
from metarl.errors import CheckpointError, UserError
from metarl.meta import NonFiniteLossError
from metarl.runs.seeds import create_runs, find_runs
from metarl.train.loop import LoopSettings, MetaTraining, pausing_at

SEEDS = (3, 5)
SETTINGS = LoopSettings(iterations=12, log_every=4, checkpoint_every=5)


class Walk:
    """A learner that adds noise to its numbers, N agents."""

    def __init__(self, generators):
        self.generators = generators
        self.position = torch.zeros(len(generators))
        self.factors = []

    def set_learning_rate_factor(self, factor):
        self.factors.append(factor)

    def iterate(self):
        noise = torch.stack([torch.rand((), generator=g["noise"]) for g in self.generators])
        self.position += noise
        return {"return": self.position.clone()}

    def agent_state(self, index):
        return {"position": self.position[index]}

    def load_agent_states(self, states):
        self.position = torch.stack([s["position"] for s in states])


def training(path, settings=SETTINGS, *, new=True, iterate=None, seeds=SEEDS):
    runs = create_runs(path, seeds, {"method": "walk"}) if new else find_runs(path)
    generators = [{"noise": torch.Generator().manual_seed(r.config["seed"])} for r in runs]
    walk = Walk(generators)
    step = (lambda: iterate(walk)) if iterate else walk.iterate
    return walk, MetaTraining(walk, step, runs, generators, 100, settings)


def metrics_of(path):
    drop = "wall_seconds"
    columns = [run.read_metrics() for run in find_runs(path)]
    return [{k: v.tolist() for k, v in c.items() if k != drop} for c in columns]


def test_a_whole_run_writes_what_it_says(tmp_path):
    walk, loop = training(tmp_path / "run")
    loop.run()
    for run, agent in zip(find_runs(tmp_path / "run"), range(2), strict=True):
        metrics = run.read_metrics()
        assert metrics["iteration"].tolist() == [4, 8, 12]
        assert metrics["env_steps"].tolist() == [400, 800, 1200]
        generator = torch.Generator().manual_seed(SEEDS[agent])
        steps = [torch.rand((), generator=generator).item() for _ in range(12)]
        walked = list(itertools.accumulate(steps))
        means = [sum(walked[i : i + 4]) / 4 for i in (0, 4, 8)]
        assert metrics["return"].tolist() == pytest.approx(means, rel=1e-6)
        state = run.load_checkpoint()
        assert state["iteration"] == 12
        assert torch.equal(state["learner"]["position"], walk.position[agent])


@pytest.mark.parametrize("stop_after", [1, 5, 7, 11])
def test_resume_equals_the_uninterrupted_run_bit_for_bit(tmp_path, stop_after):
    whole, loop = training(tmp_path / "whole")
    loop.run()

    class Killed(Exception):
        pass

    def dies(walk):
        if len(walk.factors) > stop_after:
            raise Killed
        return walk.iterate()

    _, loop = training(tmp_path / "killed", iterate=dies)
    with pytest.raises(Killed):
        loop.run()
    resumed, loop = training(tmp_path / "killed", new=False)
    loop.resume()
    assert loop.iteration == stop_after // 5 * 5
    loop.run()
    assert torch.equal(resumed.position, whole.position)
    assert metrics_of(tmp_path / "killed") == metrics_of(tmp_path / "whole")


@pytest.mark.parametrize("saved", [0, 1])
def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, saved):
    """Some seeds have their checkpoint of iteration 0 by then, the others have none."""
    whole, loop = training(tmp_path / "whole")
    loop.run()
    _, loop = training(tmp_path / "killed")
    loop._save()
    for run in loop.runs[saved:]:
        run.checkpoint_path.unlink()
    resumed, loop = training(tmp_path / "killed", new=False)
    loop.resume()
    loop.run()
    assert torch.equal(resumed.position, whole.position)
    assert metrics_of(tmp_path / "killed") == metrics_of(tmp_path / "whole")


def test_a_checkpoint_lost_later_is_no_reason_to_begin_anew(tmp_path):
    training(tmp_path / "run")[1].run()
    _, loop = training(tmp_path / "run", new=False)
    loop.runs[1].checkpoint_path.unlink()
    before = metrics_of(tmp_path / "run")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        loop.resume()
    assert metrics_of(tmp_path / "run") == before


def test_seeds_together_equal_seeds_alone(tmp_path):
    training(tmp_path / "together")[1].run()
    for index, seed in enumerate(SEEDS):
        training(tmp_path / f"alone-{seed}", seeds=(seed,))[1].run()
        assert metrics_of(tmp_path / f"alone-{seed}")[0] == metrics_of(tmp_path / "together")[index]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_the_resume_goes_on(tmp_path, number):
    whole, loop = training(tmp_path / "whole")
    loop.run()

    def interrupts(walk):
        if len(walk.factors) == 7:
            os.kill(os.getpid(), number)
        return walk.iterate()

    _, loop = training(tmp_path / "run", iterate=interrupts)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match="saved at iteration 7"):
        loop.run()
    assert signal.getsignal(number) is before
    resumed, loop = training(tmp_path / "run", new=False)
    loop.resume()
    assert loop.iteration == 7
    loop.run()
    assert torch.equal(resumed.position, whole.position)
    assert metrics_of(tmp_path / "run") == metrics_of(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ignored_signal_stays_ignored(tmp_path, number):
    def signalled(walk):
        os.kill(os.getpid(), number)
        return walk.iterate()

    before = signal.signal(number, signal.SIG_IGN)
    try:
        _, loop = training(tmp_path / "run", iterate=signalled)
        loop.run()
        assert loop.iteration == SETTINGS.iterations
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("agents", "named"), [((), ["seed-3", "seed-5"]), ((1,), ["seed-5"]), ((0,), ["seed-3"])]
)
def test_a_loss_that_is_not_finite_names_iteration_and_seed_and_keeps_the_checkpoint(
    tmp_path, agents, named
):
    def explodes(walk):
        if len(walk.factors) == 9:
            raise NonFiniteLossError("loss [nan]", agents)
        return walk.iterate()

    _, loop = training(tmp_path / "run", iterate=explodes)
    with pytest.raises(NonFiniteLossError, match=r"iteration 9: loss \[nan\].*untouched") as caught:
        loop.run()
    assert re.findall(r"seed-\d+", str(caught.value)) == named
    assert "a resume would end here again: train again with a smaller" in str(caught.value)
    assert all(r.load_checkpoint()["iteration"] == 5 for r in find_runs(tmp_path / "run"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("agent", [0, 1])
def test_weights_that_are_not_finite_are_never_saved_over_good_ones(tmp_path, value, agent):
    def blows_up(walk):
        metrics = walk.iterate()
        if len(walk.factors) >= 7:  # after the checkpoint of iteration 5; the metrics are fine
            walk.position[agent] = value
        return {"return": torch.nan_to_num(metrics["return"])}

    _, loop = training(tmp_path / "run", iterate=blows_up)
    named = rf"iteration 10: .*seed-{SEEDS[agent]} \(learner\['position'\]\); nothing was saved"
    with pytest.raises(NonFiniteLossError, match=named) as caught:
        loop.run()
    assert caught.value.agents == (agent,)
    for run in find_runs(tmp_path / "run"):
        state = run.load_checkpoint()
        assert state["iteration"] == 5
        assert state["learner"]["position"].isfinite()


def test_weights_that_are_not_finite_are_refused_when_they_are_read(tmp_path):
    (run,) = create_runs(tmp_path / "run", (0,), {})
    moments = [{"exp_avg": torch.tensor([1.0, torch.inf])}]
    run.save_checkpoint({"iteration": 3, "learner": {"w": torch.ones(2), "o": moments}})
    with pytest.raises(CheckpointError, match=r"learner\['o'\]\[0\]\['exp_avg'\].*diverged"):
        run.load_checkpoint()


def test_schedules_by_hand():
    assert Schedule().factor(7, 10) == 1.0
    assert Schedule("linear").factor(5, 10) == 0.5
    assert Schedule("linear", final=0.2).factor(5, 10) == pytest.approx(0.6)
    assert Schedule("cosine").factor(5, 10) == pytest.approx(0.5)
    assert Schedule("cosine").factor(0, 10) == 1.0
    assert [Schedule(warmup=4).factor(k, 10) for k in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_schedule_reaches_the_learner(tmp_path):
    walk, loop = training(tmp_path / "run", LoopSettings(4, 1, 1, Schedule("linear")))
    loop.run()
    assert walk.factors == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("name", ["iterations", "log_every", "checkpoint_every"])
def test_counts_that_mean_nothing_are_refused(name):
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        LoopSettings(**({"iterations": 1} | {name: 0}))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    training(tmp_path / "run")[1].run()
    walk, loop = training(tmp_path / "run", new=False)
    walk.load_agent_states = lambda states: states[0]["momentum"]
    with pytest.raises(UserError, match=r"does not fit the settings.*momentum"):
        loop.resume()


def test_a_pause_is_an_interruption_that_nobody_hears_of(tmp_path):
    _, loop = training(tmp_path / "whole")
    loop.run()
    _, loop = training(tmp_path / "paused")
    with pausing_at(7):
        loop.run()
    for pause, done in ((3, 7), (7, 7), (9, 9), (12, 12), (99, 12)):
        _, loop = training(tmp_path / "paused", new=False)
        with pausing_at(pause):
            loop.resume()
            loop.run()
        assert {run.load_checkpoint()["iteration"] for run in find_runs(tmp_path / "paused")} == {
            done
        }
    assert metrics_of(tmp_path / "paused") == metrics_of(tmp_path / "whole")
    with pausing_at(0):
        pass
    walk, loop = training(tmp_path / "after")
    loop.run()
    assert loop.iteration == 12
