"""Episodes in the plane that are one call are those of a loop over their steps."""

import pytest
import torch

from metarl.native import kernels, using
from metarl.native.episode import play, playable
from metarl.native.mlp import Perceptron
from metarl.nn import MLP

pytestmark = pytest.mark.skipif(kernels("episode") is None, reason="no kernels here")

POLICY = MLP((2, 9, 17, 2), "tanh")
NAMES = [f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]


def setting(num_tasks, num_steps, num_episodes, dtype):
    """Parameters, shifts and a world."""
    draw = torch.Generator().manual_seed(0)
    drawn = [POLICY.init(draw) for _ in range(num_tasks)]
    params = {name: torch.stack([one[name] for one in drawn]).to(dtype) for name in NAMES}
    shape = (num_tasks, num_steps, num_episodes, 2)
    shifts = torch.randn(shape, generator=draw, dtype=dtype)
    places = torch.rand(2, num_tasks * num_episodes, 2, generator=draw)
    world = {"world": "plane", "starts": places[0], "goals": places[1], "max_step": 0.2}
    world |= {"action_scale": 0.3, "goal_radius": 0.15, "horizon": num_steps}
    return params, shifts, world


def by_steps(params, shifts, world):
    """Observations, rewards and ends of the same, step by step."""
    shape = (shifts.shape[0], shifts.shape[2], 2)
    place, goals = world["starts"].view(shape), world["goals"].view(shape)
    ended = torch.zeros(shape[:2], dtype=torch.bool)
    seen, rewards, ends = [place], [], []
    for shift in shifts.unbind(1):
        action = (POLICY(params, place.to(shift.dtype)) + shift).float() * world["action_scale"]
        moved = place + action.clamp(-world["max_step"], world["max_step"])
        place = torch.where(ended[..., None], place, moved)
        left = place - goals
        rewards.append(torch.where(ended, 0.0, -left.square().sum(-1).sqrt()))
        ended = ended | (left.abs() < world["goal_radius"]).all(-1)
        ends.append(ended)
        seen.append(place)
    return torch.stack(seen, 1), torch.stack(rewards, 1), torch.stack(ends, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 7, 5), (2, 9, 101)])
def test_episodes_are_those_of_a_loop(sizes, dtype):
    params, shifts, world = setting(*sizes, dtype)
    net, own = POLICY.layers().net, [params[name] for name in NAMES]
    assert playable(net, own, shifts)
    played = play(net, own, shifts, world)
    seen, rewards, ends = by_steps(params, shifts, world)
    torch.testing.assert_close(played.observations, seen.to(dtype), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(played.rewards, rewards.to(dtype), rtol=1e-5, atol=1e-5)
    assert torch.equal(played.terminated, ends)
    assert torch.equal(played.truncated[:, -1], ~ends[:, -1])
    assert not played.truncated[:, :-1].any()
    assert torch.equal(played.actions, played.means + shifts)
    assert torch.equal(
        played.means.flatten(1, 2), POLICY(params, played.observations[:, :-1].flatten(1, 2))
    )


def test_other_worlds_and_sizes_are_refused():
    params, shifts, world = setting(2, 3, 4, torch.float32)
    net, own = POLICY.layers().net, [params[name] for name in NAMES]
    with pytest.raises(ValueError, match="'space'"):
        play(net, own, shifts, world | {"world": "space"})
    for wrong in (world["starts"][:-1], world["starts"].double()):
        with pytest.raises(ValueError, match=r"places \(8, 2\) of torch.float32"):
            play(net, own, shifts, world | {"starts": wrong})
    assert not playable(Perceptron((2, 3), ("tanh",)), own[:2], shifts)
    assert not playable(net, own, shifts[:, :0])
    assert not playable(net, [p[:1] for p in own], shifts)  # one net for both tasks
    assert not playable(net, own, shifts.double())
    with using("off"):
        assert not playable(net, own, shifts)
