"""WarpGrad for your own loop (Flennerhag et al. 2020): any `nn.Module`, any optimiser of PyTorch.

    for task in tasks:
        warp.register_task(task)                             its points are collected
        warp.init_adaptation()                               theta_0
        optimiser = SGD(warp.adapt_parameters(), lr=0.1)
        for x, y in task:                                    theta_{k+1} = U(theta_k, grad l)
            optimiser.zero_grad(); criterion(warp(x), y).backward(); optimiser.step()
        warp.no_collect()                                    evaluate as you like
    warp.backward(meta_step)                                 phi and theta_0 learn

Adaptation works on copies: the model's own parameters are what is meta-learned (the initialisation
theta_0 of the adapting modules and the warp layers phi), and only ``meta_step`` changes them.

# Deviation: the published wrapper (https://github.com/flennerhag/warpgrad) adapts the model's own
# tensors and freezes the rest; here copies adapt, and the model needs no method of its own. This is
# an `nn.Module`: its parameters and state are the meta-learned ones, and there is no ``set_state``.
# Gradients are None where that one has zeros. A point is recorded once, in training mode, and
# theta_K if the buffer asks for it. `init_adaptation` goes back by default even if the start is not
# learned. The inner optimiser is seen when it steps, or known from ``DualUpdater(rule=...)``, not
# from options of `backward`; learned step sizes and momenta are logarithms and logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from metarl.core import ReplayBuffer
from metarl.core.update_rules import EMPTY
from metarl.errors import renamed
from metarl.modules.dual_updater import Collected, DualUpdater, MetaStep
from metarl.modules.functional import NamedTree, call, copy_buffers
from metarl.modules.module_task import Batch, Plays, Samples, TaskSource
from metarl.modules.recorder import Recorder
from metarl.modules.selection import Selector, two_sides
from metarl.modules.torch_rules import OptimizerParameters

NamedParameters = Iterator[tuple[str, nn.Parameter]]


class WarpParameters(nn.Module):
    """A model's adapting and warping parameters; names are the model's, in its order.

    Its parameters, and its ``state_dict``, are what is meta-learned. What a task has adapted is in
    `adapt_parameters` and `adapt_state`; move the module to a device before making optimisers.

    Attributes:
        model: The user's module: its parameters of the adapting modules are the initialisation.
        learned: Step sizes and momenta, where they are learned.
    """

    def __init__(
        self,
        model: nn.Module,
        adapt_modules: Selector | Iterable[Selector],
        warp_modules: Selector | Iterable[Selector],
        optimizer_parameters: OptimizerParameters | None,
    ) -> None:
        """Divide the model's parameters; it is not copied. See `Warp`."""
        super().__init__()
        self._fast_names, self._slow_names = two_sides(model, adapt_modules, warp_modules)
        self.model, self._optimizer_parameters = model, optimizer_parameters
        rule = optimizer_parameters.rule if optimizer_parameters else None
        self.learned = NamedTree(rule.parameters(self._init()) if rule else EMPTY)
        self._copy()

    def adapt_parameters(self) -> Iterator[nn.Parameter]:
        """The copies that adapt to a task: for the inner optimiser."""
        return iter(self._adapted.values())

    def named_adapt_parameters(self) -> NamedParameters:
        """Pairs of names and `adapt_parameters`."""
        return iter(self._adapted.items())

    def init_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters where adaptation begins."""
        return iter(self._init().values())

    def named_init_parameters(self) -> NamedParameters:
        """Pairs of names and `init_parameters`."""
        return iter(self._init().items())

    def warp_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that stand still during adaptation."""
        return iter(self._slow().values())

    def named_warp_parameters(self) -> NamedParameters:
        """Pairs of names and `warp_parameters`."""
        return iter(self._slow().items())

    def optimizer_parameters(self) -> Iterator[nn.Parameter]:
        """Logarithms of step sizes and logits of momenta, where they are learned."""
        return self.learned.parameters()

    def named_optimizer_parameters(self) -> NamedParameters:
        """Pairs of names, after the links of the update rule, and `optimizer_parameters`."""
        return self.learned.named_parameters()

    def meta_parameters(self) -> Iterator[nn.Parameter]:
        """All meta-learned parameters: for the meta-optimiser."""
        return (p for _, p in self.named_meta_parameters())

    def named_meta_parameters(self) -> NamedParameters:
        """Pairs of names and `meta_parameters`: the rule's, the initial ones, then the warp's."""
        yield from self.named_optimizer_parameters()
        yield from self.named_init_parameters()
        yield from self.named_warp_parameters()

    def zero_meta_grads(self) -> None:
        """Drop the gradients of all meta-learned parameters."""
        for p in self.meta_parameters():
            p.grad = None

    def zero_task_grads(self) -> None:
        """Drop the gradients of the copies that adapt."""
        for p in self.adapt_parameters():
            p.grad = None

    def optimizer_parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for `torch.optim.SGD` with every parameter's learned step size and momentum."""
        if self._optimizer_parameters is None:
            raise ValueError("no optimizer_parameters were given to Warp")
        return self._optimizer_parameters.groups(self._adapted, self.learned.params())

    def adapt_state(self) -> dict[str, Tensor]:
        """Copies of adapted parameters and buffers.

        A model takes them with ``load_state_dict(..., strict=False)``.
        """
        named = {**self._adapted, **self._task_buffers}
        return {name: t.detach().clone() for name, t in named.items()}

    def _reset(self) -> None:
        """Go to the initialisation, buffers included; the copies stay the same tensors."""
        with torch.no_grad():
            for name, p in self._init().items():
                self._adapted[name].copy_(p)
        self._task_buffers = copy_buffers(self.model)

    def _copy(self) -> None:
        """Make the copies."""
        self._adapted = {n: nn.Parameter(p.detach().clone()) for n, p in self._init().items()}
        self._task_buffers = copy_buffers(self.model)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move, and make the copies again."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._copy()
        return self

    def _init(self) -> dict[str, nn.Parameter]:
        named = dict(self.model.named_parameters())
        return {name: named[name] for name in self._fast_names}

    def _slow(self) -> dict[str, nn.Parameter]:
        named = dict(self.model.named_parameters())
        return {name: named[name] for name in self._slow_names}


_OPTIMISER = "the optimiser that adapts: it is seen with its settings"


class Warp(WarpParameters):
    """A model some of whose modules adapt to a task through others that warp them.

    Attributes:
        updater: The updater by which it learns.
        buffer: The points of the present meta-batch.
        turn: Meta-batches learned from so far.
    """

    turn: Tensor

    def __init__(
        self,
        model: nn.Module,
        adapt_modules: Selector | Iterable[Selector],
        warp_modules: Selector | Iterable[Selector],
        updater: DualUpdater,
        buffer: ReplayBuffer | None = None,
        optimizer_parameters: OptimizerParameters | None = None,
    ) -> None:
        """Wrap a model; it is not copied.

        Args:
            model: The module. Parameters that do not require a gradient stand still.
            adapt_modules: Modules that adapt to a task, their names, or name patterns.
            warp_modules: Modules that stand still meanwhile and are learned; may be empty.
            updater: The updater of warp modules and initialisation.
            buffer: Memory of the points; by default in memory, and all of them.
            optimizer_parameters: Learn step sizes and momenta too; adapt with
                ``SGD(warp.optimizer_parameter_groups())``.

        Raises:
            TypeError: The model is no module, or ``updater`` no `DualUpdater`.
            ValueError: A trainable parameter is on both sides or on neither, or nothing adapts; or
                the updater's rule learns, which is for ``optimizer_parameters`` to do.
        """
        if not isinstance(updater, DualUpdater):
            raise TypeError(f"updater must be a DualUpdater(criterion, ...), got {updater!r}")
        super().__init__(model, adapt_modules, warp_modules, optimizer_parameters)
        if optimizer_parameters is None and updater.rule and updater.rule.parameters(self._init()):
            raise ValueError("the rule learns: give Warp OptimizerParameters(lr, momentum) instead")
        self.updater = updater
        self.buffer = ReplayBuffer() if buffer is None else buffer
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))
        self._recorder = self._new_recorder()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output with the adapted parameters; no gradient reaches the warp modules.

        In training mode, with gradients and while `collecting`, the point is recorded.
        """
        copies = {n: p.detach().clone() for n, p in self._slow().items()}
        params = {**self._adapted, **copies}
        output, self._task_buffers = call(self.model, params, self._task_buffers, args, kwargs)
        if self.training and torch.is_grad_enabled():
            self.record()  # now, since the forward pass may have written into weights
        return output

    def register_task(self, data: Samples | Plays | Iterable[Batch]) -> None:
        """Begin a task of the meta-batch and collect the points of its adaptation.

        Args:
            data: A data loader or another iterable of (inputs, targets), or an object with
                ``sample(split)`` that gives such a pair for "support" and "query". For on-policy
                reinforcement learning, ``sample(split, policy)``: ``policy(x)`` is the model's
                output with the parameters that the experience is for.
        """
        source = TaskSource(data)
        self._recorder.end(self._adapted)
        self._recorder.begin(source, self._adapted)

    @renamed(reset_adapt_parameters="reset")
    def init_adaptation(self, *, reset: bool = True) -> None:
        """Go to the initialisation, buffers included, in training mode.

        A registered task that has been adapted to ends here.

        Args:
            reset: False stays where the last task ended (continual learning).
        """
        if self._recorder.has_begun:
            self._recorder.end(self._adapted)
        if reset:
            self._reset()
        self.zero_task_grads()
        self.train()

    @property
    def collecting(self) -> bool:
        """Whether the points of a registered task are recorded."""
        return self._recorder.active

    def collect(self) -> None:
        """Record points again, after `no_collect`."""
        self._recorder.enabled = True

    def no_collect(self) -> None:
        """Record no more points: adaptation to the task has ended, or pauses."""
        self._recorder.stop(self._adapted)
        self._recorder.enabled = False

    def record(self) -> None:
        """Record where adaptation stands, if it has moved; calling `Warp` does it for you."""
        self._recorder.record(self.model, self._adapted)

    @renamed(
        retain_optimizer="one optimiser for several tasks, if its momentum is to be kept",
        **dict.fromkeys(("momentum", "nesterov", "weight_decay", "dampening"), _OPTIMISER),
    )
    def backward(
        self, meta_step: MetaStep, *, retain_trajectories: bool = False
    ) -> dict[str, float]:
        """Learn from the tasks registered since the last call, then forget them.

        Args:
            meta_step: Steps a meta-optimiser over `meta_parameters`; called often.
            retain_trajectories: Keep them, to learn from them again.

        Returns:
            Mean losses; see `DualUpdater.backward`.

        Raises:
            ValueError: No task was registered, or one of them took no step.
        """
        self._recorder.end(self._adapted)
        paths, turn = self._recorder.paths, int(self.turn)
        if not paths:
            raise ValueError("nothing was collected: call register_task before adapting to a task")
        learned = self.learned.params()
        collected = Collected(
            self.model, self._init(), self._slow(), learned, paths, self.buffer, turn
        )
        losses = self.updater.backward(collected, meta_step)
        self.turn.add_(1)
        if not retain_trajectories:
            self.clear()
        return losses

    def clear(self) -> None:
        """Forget all tasks and their points."""
        self._recorder.clear()

    def _new_recorder(self) -> Recorder:
        parameters = self._optimizer_parameters
        rule = parameters.rule if parameters else self.updater.rule
        checks = self.updater.takes_steps
        return Recorder(self.buffer, rule, self.learned.params, checks=checks)

    def __getstate__(self) -> dict[str, Any]:
        """A copy begins without tasks, and with a buffer of its own like this one's."""
        state = {k: v for k, v in self.__dict__.items() if k != "_recorder"}
        kept = ("capacity", "stride", "include_final", "seed")
        state["buffer"] = {name: getattr(self.buffer, name) for name in kept}
        state["buffer"]["folder"] = self.buffer.folder and self.buffer.folder.parent
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "buffer": ReplayBuffer(**state["buffer"])})  # type: ignore[no-untyped-call]
        self._recorder = self._new_recorder()

    def register_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Name the optimiser that adapts to this task: its steps are taken again as it took them.

        It need not be named: it is seen when it steps. Named, it comes before `DualUpdater.rule`,
        and one whose steps cannot be taken again is refused at once.

        Args:
            optimizer: SGD, Adam, AdamW or RMSprop over `adapt_parameters`.

        Raises:
            ValueError: Its steps cannot be taken again.
        """
        self._recorder.register(optimizer, self._adapted)

    def unregister_optimizer(self) -> None:
        """Forget the optimiser, as the end of its task does: its later steps follow the rule."""
        self._recorder.unregister()
