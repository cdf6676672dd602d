"""Runs that go on on another kind of device, and what must be the same on all of them."""

import gc
import logging
import weakref

import pytest
import torch

from envs.problems import Point
from metarl.core import ReplayBuffer, cuda_graph
from metarl.core.cuda_graph import Captured
from metarl.core.inner_loop import InnerStep
from metarl.devices import small_networks
from metarl.experiment import Experiment
from metarl.meta.method import Untrained
from metarl.meta.warpgrad.method import WarpSettings
from metarl.rl.agents import by_thresholds
from metarl.run import adaptation, trials
from metarl.runs.provenance import provenance
from metarl.runs.seeds import find_runs
from metarl.seeding import set_streams, spawn_generators

NAMES = ("init", "tasks", "episodes")


def test_streams_of_another_kind_of_device_begin_again_from_seed_and_iteration():
    streams, states = spawn_generators(0, NAMES), {}
    for name, generator in spawn_generators(1, NAMES).items():
        states[name] = generator.get_state()
    states["episodes"] = states["episodes"][:16]  # as large as that of a GPU's
    assert set_streams(streams, states, (3, 500)) == ["episodes"]
    assert torch.equal(streams["tasks"].get_state(), states["tasks"])
    again, other = spawn_generators(0, NAMES), spawn_generators(0, NAMES)
    set_streams(again, states, (3, 500))
    set_streams(other, states, (3, 501))
    drawn = [torch.rand(3, generator=s["episodes"]).tolist() for s in (streams, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_run_goes_on_on_another_kind_of_device_and_says_so(tmp_path, caplog):
    made = Experiment(Point(horizon=5), iterations=2, meta_batch=2, log_every=1)
    (run,) = made.train(tmp_path / "run")
    state = run.load_checkpoint()
    state["generators"]["episodes"] = torch.zeros(16, dtype=torch.uint8)
    run.save_checkpoint(state)
    longer = Experiment(Point(horizon=5), iterations=3, meta_batch=2, log_every=1)
    with caplog.at_level(logging.WARNING, "metarl"):
        longer.resume(tmp_path / "run")
    assert "from iteration 2 on episodes begin again" in caplog.text
    (run,) = find_runs(tmp_path / "run")
    assert run.load_checkpoint()["iteration"] == 3
    (entry,) = run.config["resumed"]
    assert entry["provenance"]["device"] == "cpu"
    assert entry["provenance"]["device_name"]


@pytest.mark.parametrize(
    ("module", "names"),
    [(adaptation, ("test_tasks", "validation_tasks")), (trials, ("tasks",))],
)
def test_tasks_to_be_measured_on_are_drawn_on_the_cpu(module, names, monkeypatch):
    """On a GPU other ones would be drawn, and results would not compare."""
    made = []

    class Generator:
        def __init__(self, device):
            made.append(device)

        def manual_seed(self, seed):
            return self

    asked = getattr(module, "TASKS", ("tasks",))
    assert set(names) <= set(asked)
    monkeypatch.setattr(torch, "Generator", Generator)
    spawn_generators(0, module.STREAMS, "cuda", on_cpu=asked)
    places = dict(zip(module.STREAMS, made, strict=True))
    assert {places[name] for name in names} == {"cpu"}
    assert {place for name, place in places.items() if name not in names} == {"cuda"}


def test_convolutions_keep_single_precision_while_a_script_computes():
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        with small_networks():
            assert not torch.backends.cudnn.allow_tf32
            assert not provenance()["tf32"]
        assert torch.backends.cudnn.allow_tf32
        assert provenance()["tf32"]
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_recorded_points_stay_where_they_are_made():
    """On the meta device: what would be copied to the CPU, or looked at, raises."""
    fast = {"w": torch.empty(3, 4, device="meta")}
    state = {"m": torch.empty(3, 4, device="meta")}
    step = InnerStep(0, fast, state, None, torch.empty(3), {}, fast, state)
    buffer = ReplayBuffer(device="meta")
    list(buffer.record(iter([step])))
    assert buffer.keys() == [(0, 0), (1, 0), (2, 0)]
    visit = buffer[1, 0]
    assert visit.fast["w"].device.type == visit.state["m"].device.type == "meta"
    params = {name: torch.empty(2, device="meta") for name in ("fast", "warp")}

    class Architecture:
        slow = ("warp",)

    learner = WarpSettings(warp_algorithm="offline").build(Untrained(params, Architecture()))
    assert learner.buffer.device.type == "meta"


def test_actions_are_drawn_without_a_look_at_the_device():
    meta = by_thresholds(torch.empty(5, 3, device="meta"), torch.empty(5, 1, device="meta"))
    assert meta.shape == (5,)
    probabilities = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    uniforms = torch.linspace(0, 1 - 2**-24, 10_001).unsqueeze(1)
    drawn = by_thresholds(probabilities.expand(10_001, 5), uniforms)
    counts = torch.bincount(drawn, minlength=5) / 10_001
    torch.testing.assert_close(counts, probabilities, rtol=0, atol=1e-3)
    assert counts[probabilities == 0].sum() == 0


def test_what_is_recorded_goes_with_its_owner_not_with_the_garbage_collector(monkeypatch):
    monkeypatch.setattr(cuda_graph, "require_cuda", lambda device: None)
    monkeypatch.setattr(cuda_graph, "record", lambda function, _: (function(), lambda: None))

    class Owner:
        def __init__(self):
            self.play = Captured(self._played, [torch.Generator()])

        def _played(self, tasks):
            return tasks

    gc.disable()
    try:
        owner = Owner()
        assert owner.play("tasks") == "tasks"
        gone = weakref.ref(owner)
        del owner
        assert gone() is None
    finally:
        gc.enable()
