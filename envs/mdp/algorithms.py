"""Reference algorithms for random decision processes, as pure functions on beliefs, B at once.

The companions RL^2 is compared with (Duan et al. 2016, section 3.2), and one that does not plan:

    psrl      follows the best policy of a process drawn from the posterior (Strens 2000)
    greedy    follows the best policy of the posterior's mean
    myopic    takes the action whose next reward has the highest posterior mean

Each makes a policy at the start of every episode, or again before every step, as `play_mdps` is
told. The prior is the family's own (`envs.mdp.tasks`): after n visits whose rewards sum to
s the mean reward is N((1 + s) / (1 + n), 1 / (1 + n)), and transitions are Dirichlet(1 + counts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = ["Algorithm", "Belief", "best_policy", "greedy", "myopic", "play_mdps", "psrl"]


class Belief(NamedTuple):
    """A belief on B processes: visits, float [B, S, A, S'], sums of rewards, [B, S, A]."""

    visits: torch.Tensor
    rewards: torch.Tensor

    @property
    def means(self) -> torch.Tensor:
        """Posterior means of the mean rewards, float [B, S, A]."""
        return (1.0 + self.rewards) * self.variances

    @property
    def variances(self) -> torch.Tensor:
        """Posterior variances of the mean rewards, float [B, S, A]."""
        return 1.0 / (1.0 + self.visits.sum(-1))


Algorithm = Callable[[Belief, int, torch.Generator], torch.Tensor]
"""An algorithm: a belief, the T steps left and a generator to a policy, int64 [T, B, S]."""


def psrl(belief: Belief, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Posterior sampling. Arguments and result as in `Algorithm`."""
    masses = torch._standard_gamma(1.0 + belief.visits, generator=generator)
    noise = torch.randn(belief.means.shape, generator=generator, device=masses.device)
    return best_policy(_shares(masses), belief.means + noise * belief.variances.sqrt(), steps)


def greedy(belief: Belief, steps: int, generator: torch.Generator) -> torch.Tensor:
    """The posterior's mean, as if it were certain; ties are broken at random."""
    return best_policy(_shares(1.0 + belief.visits), _untied(belief.means, generator), steps)


def myopic(belief: Belief, steps: int, generator: torch.Generator) -> torch.Tensor:
    """The next reward alone; ties are broken at random."""
    return _untied(belief.means, generator).argmax(-1).expand(steps, -1, -1)  # [B, S] to [T, B, S]


def best_policy(transitions: torch.Tensor, means: torch.Tensor, steps: int) -> torch.Tensor:
    """The optimal policy of known processes, by backward induction.

    Args:
        transitions: float [B, S, A, S'], probabilities of the next state.
        means: float [B, S, A], mean rewards.
        steps: T.

    Returns:
        int64 [T, B, S], the best action at each time.
    """
    values, policy = torch.zeros_like(means[..., 0]), []
    for _ in range(steps):
        worth = means + (transitions @ values[:, None, :, None]).squeeze(-1)
        values, actions = worth.max(-1)
        policy.append(actions)
    return torch.stack(policy[::-1])


def play_mdps(
    algorithm: Algorithm,
    transitions: torch.Tensor,
    means: torch.Tensor,
    num_episodes: int,
    horizon: int,
    generator: torch.Generator,
    *,
    every_step: bool = False,
) -> torch.Tensor:
    """Plays trials on B processes with an algorithm; episodes start in state 0.

    Args:
        algorithm: One of this module, or another function of beliefs.
        transitions: float [B, S, A, S'], probabilities of the next state.
        means: float [B, S, A], mean rewards; a reward deviates from them by N(0, 1).
        num_episodes: E.
        horizon: Steps in an episode, T.
        generator: Source of everything random, on the device of `means`.
        every_step: Ask the algorithm again before every step, not only at the start of an episode.

    Returns:
        float32 [B, E, T], the rewards.
    """
    belief = Belief(torch.zeros_like(transitions), torch.zeros_like(means))
    rows = torch.arange(len(means), device=means.device)
    thresholds = transitions.cumsum(-1)[..., :-1]
    paid = torch.empty(len(means), num_episodes, horizon, device=means.device)
    for episode in range(num_episodes):
        states = torch.zeros_like(rows)
        for time in range(horizon):
            if every_step or time == 0:
                policy = iter(algorithm(belief, horizon - time, generator))
            actions = next(policy)[rows, states]
            noise, uniform = _noise(len(rows), generator)
            rewards = means[rows, states, actions] + noise
            after = (thresholds[rows, states, actions] <= uniform[:, None]).sum(-1)
            belief.visits[rows, states, actions, after] += 1.0
            belief.rewards[rows, states, actions] += rewards
            paid[:, episode, time], states = rewards, after
    return paid


def _noise(size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of the rewards, normal, and of the moves, uniform; float32 [B] each."""
    normal = torch.randn(size, generator=generator, device=generator.device)
    return normal, torch.rand(size, generator=generator, device=generator.device)


def _shares(masses: torch.Tensor) -> torch.Tensor:
    """Divide by the sum: probabilities along the last axis."""
    return masses / masses.sum(-1, keepdim=True)


def _untied(scores: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The scores and less than a hundred thousandth, drawn."""
    lots = torch.rand(scores.shape, generator=generator, device=scores.device)
    return scores + 1e-5 * lots
