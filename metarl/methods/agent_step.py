"""One step of an agent as a module of PyTorch: for ONNX, and for programs without metarl.

    step = AgentStep(metarl.load("mazes13"))
    outputs, value, *state = step(observation, *step.initial_state(num_trials))

What is random stays outside: the step says what the actions are drawn from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metarl.core import scope
from metarl.errors import UserError
from metarl.methods.loading import LoadedAgent


class AgentStep(nn.Module):
    """``(observation, *state)`` to ``(outputs[, value], *state)``, B trials side by side.

    Observations are ``[B, I]``, what describes the actions' distribution ``[B, D]``
    (`metarl.rl.distributions`: log-probabilities, logits of bits, or means and log-deviations),
    the critic's estimates ``[B]``, where there is a critic, and states ``[B, ...]``.

    Attributes:
        num_inputs: I.
        num_states: Tensors that the agent remembers; 0: none.
        has_value: Whether there is a critic.
    """

    def __init__(self, agent: LoadedAgent) -> None:
        """Take the weights of an agent, as it was learned or adapted to one task."""
        super().__init__()
        self.num_inputs, self.policy = agent.num_inputs, agent.policy
        self.has_value = self.policy.critic is not None
        for name, value in agent.agent.params.items():
            self.register_buffer(name.replace(".", "/"), value.detach().clone())
        self.num_states = len(self.initial_state(1))

    def initial_state(self, num_trials: int) -> tuple[Tensor, ...]:
        """Memory of an agent at the start of B trials, each ``[B, ...]``.

        Raises:
            UserError: The core remembers each step of a trial, so that its state grows.
        """
        core, params = self.policy.core, self._params
        if core is None:
            return ()
        if core.grows:
            raise UserError(
                f"a {type(core).__name__} remembers every step of a trial, and a step as a program "
                "of its own has a state of one size: take --format safetensors, or an agent with "
                "another --core, such as linear-attention"
            )
        state = core.initial_state(core.fuse(scope(params, "core")), num_trials)
        return tuple(tensor[0] for tensor in state)

    def forward(self, observation: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Take a step; see the class."""
        policy, params = self.policy, self._params
        dtype = next(iter(params.values())).dtype
        x = observation.to(dtype).unsqueeze(0)  # [1, B, I]
        if policy.trunk is not None:
            x = policy.trunk(scope(params, "trunk"), x)
        later: tuple[Tensor, ...] = ()
        if policy.core is not None:
            weights = policy.core.fuse(scope(params, "core"))
            before = tuple(tensor.unsqueeze(0) for tensor in state)
            x, later = policy.core.step(weights, x, before)
        means = policy.actor(scope(params, "actor"), x)  # [1, B, A]
        outputs = policy.distribution.outputs(params, means)[0]  # [B, D]
        value: tuple[Tensor, ...] = ()
        if policy.critic is not None:
            value = (policy.critic(scope(params, "critic"), x)[0, :, 0],)  # [B]
        return (outputs, *value, *(tensor[0] for tensor in later))

    @property
    def _params(self) -> dict[str, Tensor]:
        """Parameters by their names, ``[1, ...]``."""
        return {name.replace("/", "."): value for name, value in self.named_buffers()}

    def input_names(self) -> list[str]:
        """Names of the inputs, in their order."""
        return ["observation", *(f"state_{i}" for i in range(self.num_states))]

    def output_names(self) -> list[str]:
        """Names of the outputs, in their order."""
        states = (f"next_state_{i}" for i in range(self.num_states))
        return ["outputs", *(["value"] if self.has_value else []), *states]


def example(step: AgentStep, num_trials: int = 2) -> tuple[Tensor, ...]:
    """Inputs of a first step."""
    return torch.zeros(num_trials, step.num_inputs), *step.initial_state(num_trials)
