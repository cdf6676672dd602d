"""A run that goes on to another number of iterations than it was made for."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl.errors import UserError
from metarl.methods.learning import train_in_turn
from metarl.runs import checkpoint
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import create_runs, find_runs
from metarl.train.loop import LoopSettings, MetaTraining, Schedule

SEEDS = (3, 5)


class Momentum:
    """A learner whose velocity decays, with noise: it depends on all that was before, N agents."""

    def __init__(self, generators):
        self.generators, self.factor = generators, 1.0
        self.position = torch.zeros(len(generators), dtype=torch.float64)
        self.velocity = torch.zeros_like(self.position)

    def set_learning_rate_factor(self, factor):
        self.factor = factor

    def iterate(self):
        noise = torch.stack([torch.rand((), generator=g["noise"]) for g in self.generators])
        self.velocity = 0.9 * self.velocity + noise
        self.position = self.position + self.factor * self.velocity
        return {"return": self.position.clone(), "noise": noise}

    def agent_state(self, index):
        return {"position": self.position[index], "velocity": self.velocity[index]}

    def load_agent_states(self, states):
        self.position = torch.stack([s["position"] for s in states])
        self.velocity = torch.stack([s["velocity"] for s in states])


def loop_of(runs, total, *, log_every=3, schedule=None, at_the_end=None, stop_at=None):
    generators = [{"noise": torch.Generator().manual_seed(run.seed)} for run in runs]
    learner = Momentum(generators)

    def iterate():
        if loop.iteration == stop_at:
            raise KeyboardInterrupt
        return learner.iterate()

    settings = LoopSettings(total, log_every, 2, schedule or Schedule())
    more = {} if at_the_end is None else {"at_the_end": at_the_end}
    loop = MetaTraining(learner, iterate, runs, generators, 10, settings, **more)
    return loop


def start(path, total, seeds=SEEDS, **how):
    runs = create_runs(path, seeds, {"iterations": total})
    loop_of(runs, total, **how).run()
    for file in path.rglob("events.out.tfevents.*"):  # in order by the second of their names
        file.rename(file.with_name("events.out.tfevents.1000000000.long.ago"))
    return find_runs(path)


def go_on(path, total, **how):
    loop = loop_of(find_runs(path), total, **how)
    loop.resume()
    loop.run()
    return find_runs(path)


def left_by(run):
    """What a run left, without what times and versions are in it."""
    state = {n: v for n, v in run.load_checkpoint().items() if n != "wall_seconds"}
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return repr(state), [{n: v for n, v in row.items() if n != "wall_seconds"} for row in rows]


def shown_by_tensorboard(run):
    events = EventAccumulator(str(run.path))
    events.Reload()
    return [event.step for event in events.Scalars("return")]


def files_of(path):
    return {
        p.relative_to(path): (p.stat().st_mtime_ns, p.read_bytes())
        for p in path.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize(("before", "log_every"), [(4, 3), (4, 4), (4, 100), (6, 3), (5, 2)])
@pytest.mark.parametrize("closing", [False, True])
def test_an_extended_run_equals_one_that_was_made_so_long_bit_for_bit(
    tmp_path, before, log_every, closing
):
    how = {"log_every": log_every}
    if closing:
        how["at_the_end"] = lambda: {"judged": torch.ones(len(SEEDS))}
    whole = start(tmp_path / "whole", 8, **how)
    start(tmp_path / "cut", before, **how)
    cut = go_on(tmp_path / "cut", 8, **how)
    for one, other in zip(whole, cut, strict=True):
        assert left_by(one) == left_by(other)
        assert shown_by_tensorboard(one) == shown_by_tensorboard(other)
        assert other.config["iterations"] == 8
        (entry,) = other.config["resumed"]
        assert entry["iteration"] == before
        assert entry["changed_from"] == {"iterations": before}
        assert entry["provenance"]["created_at"]


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_after_an_extension_a_schedule_follows_the_new_total(tmp_path, decay):
    schedule = Schedule(decay, warmup=2)
    start(tmp_path / "run", 4, (3,), schedule=schedule)
    (run,) = find_runs(tmp_path / "run")
    loop = loop_of([run], 8, schedule=schedule)
    loop.resume()
    seen = []
    loop.learner.set_learning_rate_factor = seen.append
    loop.run()
    assert seen == [schedule.factor(iteration, 8) for iteration in range(4, 8)]


def test_a_finished_run_is_left_as_it_is(tmp_path):
    start(tmp_path / "run", 4)
    before = files_of(tmp_path / "run")
    runs = go_on(tmp_path / "run", 4)
    assert files_of(tmp_path / "run") == before
    assert not any(run.was_trained or "resumed" in run.config for run in runs)


def test_less_than_is_done_is_refused_with_both_numbers(tmp_path):
    start(tmp_path / "run", 6)
    before = files_of(tmp_path / "run")
    loop = loop_of(find_runs(tmp_path / "run"), 5)
    with pytest.raises(UserError, match=r"seed-3 has done 6 iterations.*not end at 5.*6 or more"):
        loop.resume()
    for run in loop.runs:
        run.close()
    assert files_of(tmp_path / "run") == before


def interrupted(path, seeds=(3,), **how):
    """A run of 12 that is killed after iteration 7, of which the checkpoint of 6 is left."""
    with pytest.raises(KeyboardInterrupt):
        loop_of(create_runs(path, seeds, {"iterations": 12}), 12, stop_at=7, **how).run()


@pytest.mark.parametrize("total", [6, 7, 9])
def test_a_run_may_end_sooner_than_was_planned(tmp_path, total):
    interrupted(tmp_path / "cut", log_every=4)
    (cut,) = go_on(tmp_path / "cut", total, log_every=4)
    (whole,) = start(tmp_path / "whole", total, (3,), log_every=4)
    assert left_by(cut) == left_by(whole)
    assert cut.config["iterations"] == total
    assert cut.config["resumed"][0]["changed_from"] == {"iterations": 12}
    before = files_of(tmp_path / "cut")
    go_on(tmp_path / "cut", total, log_every=4)
    assert files_of(tmp_path / "cut") == before


def test_a_run_that_ends_at_once_is_judged_like_any_other(tmp_path):
    judged = []

    def judge():
        judged.append(0)
        return {"judged": torch.ones(1)}

    interrupted(tmp_path / "cut", log_every=4)
    (cut,) = go_on(tmp_path / "cut", 6, log_every=4, at_the_end=judge)
    assert len(judged) == 1
    assert cut.read_metrics()["judged"].tolist()[-1] == 1.0
    go_on(tmp_path / "cut", 6, log_every=4, at_the_end=judge)
    assert len(judged) == 1


def test_an_extension_is_known_of_all_seeds_before_the_first_is_trained(tmp_path):
    """So that what is interrupted in its first seed goes on to the new total in all of them."""
    path = tmp_path / "runs"
    start(path, 4)

    def dies(run):
        return loop_of([run], 8, stop_at=5)

    with pytest.raises(KeyboardInterrupt):
        train_in_turn(find_runs(path), dies, resume_to=8)
    runs = find_runs(path)
    assert [run.config["iterations"] for run in runs] == [8, 8]
    train_in_turn(runs, lambda run: loop_of([run], 8), resume_to=8)
    for run in find_runs(path):
        (whole,) = start(tmp_path / f"whole-{run.seed}", 8, (run.seed,))
        assert left_by(run) == left_by(whole)
    entries = [entry["iteration"] for entry in find_runs(path)[1].config["resumed"]]
    assert entries == [4, 4]  # one a process


def test_too_few_iterations_for_one_seed_are_refused_before_another_is_trained(tmp_path):
    path = tmp_path / "runs"
    start(path, 4)
    go_on(path / "seed-5", 8)
    before = files_of(path)
    with pytest.raises(UserError, match=r"seed-5 has done 8 iterations.*not end at 6"):
        train_in_turn(find_runs(path), lambda run: loop_of([run], 6), resume_to=6)
    assert files_of(path) == before


def test_of_several_seeds_the_finished_ones_are_left_alone(tmp_path):
    path = tmp_path / "runs"
    start(path, 4)
    go_on(path / "seed-5", 8)
    before = files_of(path / "seed-5")
    runs = find_runs(path)
    train_in_turn(runs, lambda run: loop_of([run], 8), resume_to=8)
    assert [run.was_trained for run in runs] == [True, False]
    assert files_of(path / "seed-5") == before


def test_checkpoints_of_before_say_nothing_of_their_last_line_and_keep_it(tmp_path):
    start(tmp_path / "run", 4, (3,))
    (run,) = find_runs(tmp_path / "run")
    state = run.load_checkpoint()
    del state["closed"]
    checkpoint.previous_path(run.checkpoint_path).unlink()
    run.save_checkpoint({**state, "sums": {}, "num_summed": {}})
    before = files_of(run.path)
    go_on(run.path, 4)
    assert files_of(run.path) == before
    (run,) = go_on(run.path, 8)
    assert run.read_metrics()["iteration"].tolist() == [3, 4, 6, 8]


def test_seeds_of_which_one_had_ended_go_on_together(tmp_path):
    """One was extended to 8 alone and killed; the other has ended at 4."""
    path = tmp_path / "runs"
    start(path, 4, log_every=2)
    with pytest.raises(KeyboardInterrupt):
        loop = loop_of([RunDirectory.open(path / "seed-5")], 8, log_every=2, stop_at=5)
        loop.resume()
        loop.run()
    whole = start(tmp_path / "whole", 8, log_every=2)
    for one, other in zip(whole, go_on(path, 8, log_every=2), strict=True):
        assert left_by(one) == left_by(other)
