"""The maze's training iteration in JAX as one jit: the peer that `bench` starts with ``--jax``.

It needs jax and optax alone. `bench` hands it mazes, sizes and one trial of ours in a file, and a
line for every iteration that it is to time. Before that it says how much its gradient of the loss
of that trial differs from ours.

`through` differentiates through the scan that plays, as anybody would write it; in `hoisted` each
weight gradient is one product over all steps, in place of a sum that the backward scan carries: a
zero is added to every product, and the gradient by that zero kept.
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

GAMMA, CRITIC, PENALTY, CLIP, LR, PERIOD = 0.9, 0.1, 0.03, 4.0, 1e-3, 10
Arrays = dict[str, Any]


def lstm(gates: Any, cell: Any) -> tuple[Any, Any]:
    """Gates o, i, f, g side by side."""
    o, i, f, g = jnp.split(gates, 4, -1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def matrices(p: Arrays) -> Arrays:
    """Input and recurrent weights below one another, where one product serves both."""
    p = {name.removeprefix("core."): value for name, value in p.items()}
    if "warp_project" in p:
        both = jnp.concatenate([p["warp_lstm_ih"], p["warp_lstm_hh"]])
        return {
            "lstm": both,
            "project": p["warp_project"],
            "i": p["weight_ih"],
            "h": p["weight_hh"],
        }
    if p["weight_ih"].shape[1] == 3 * p["weight_hh"].shape[0]:
        return {"i": p["weight_ih"], "h": p["weight_hh"]}
    return {"both": jnp.concatenate([p["weight_ih"], p["weight_hh"]])}


def step(kind: str, dot: Any, p: Arrays, x: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """The state after x; its first entry is the output."""
    h = state[0]
    match kind:
        case "rnn":
            return (jnp.tanh(dot("both", jnp.concatenate([x, h], -1)) + p["core.bias"]),)
        case "lstm":
            bias = p["core.bias_ih"] + p["core.bias_hh"]
            return lstm(dot("both", jnp.concatenate([x, h], -1)) + bias, state[1])
        case "gru":
            of_x, of_h = dot("i", x) + p["core.bias_ih"], dot("h", h) + p["core.bias_hh"]
            size = h.shape[-1]
            r, z = jnp.split(jax.nn.sigmoid(of_x + of_h)[:, : 2 * size], 2, -1)
            n = jnp.tanh(of_x[:, 2 * size :] + r * of_h[:, 2 * size :])
            return ((1 - z) * n + z * h,)
    _, a, c = state
    bias = p["core.warp_lstm_bias_ih"] + p["core.warp_lstm_bias_hh"]
    a, c = lstm(dot("lstm", jnp.concatenate([x, h, a], -1)) + bias, c)
    size = h.shape[-1]
    cuts = np.cumsum([x.shape[-1], size, size, size])
    of_x, of_h, on_x, on_h, on_bias = jnp.split(jnp.tanh(dot("project", a)), cuts, -1)
    inner = dot("i", x * of_x) * on_x + dot("h", h * of_h) * on_h + p["core.bias"] * on_bias
    return jnp.tanh(inner), a, c


def loss_of(p: Arrays, hidden: Any, actions: Any, rewards: Any) -> Any:
    """A2C with the Simpson index: hidden [T, B, H], actions and rewards [T, B]."""
    log_p = jax.nn.log_softmax(hidden @ p["actor.weight"] + p["actor.bias"])
    values = (hidden @ p["critic.weight"] + p["critic.bias"])[..., 0]

    def discounted(later: Any, now: Any) -> Any:
        return (now + GAMMA * later,) * 2

    returns = lax.scan(discounted, jnp.zeros(rewards.shape[1]), rewards, reverse=True)[1]
    advantage = returns - values
    taken = jnp.take_along_axis(log_p, actions[..., None], -1)[..., 0]
    policy = -(taken * lax.stop_gradient(advantage)).mean()
    penalty = jnp.exp(2 * log_p).sum(-1).mean()
    return policy + CRITIC * jnp.square(advantage).mean() + PENALTY * penalty


class Iteration:
    """One iteration as a jitted function of state and key."""

    def __init__(self, kind: str, variant: str, given: dict[str, np.ndarray]) -> None:
        self.kind, self.hoisted = kind, variant == "hoisted"
        self.next_cell, self.patch = jnp.asarray(given["next_cell"]), jnp.asarray(given["patch"])
        self.start = int(given["start"])
        self.params = {n[2:]: jnp.asarray(v) for n, v in given.items() if n.startswith("p.")}
        self.horizon, self.batch = given["noise"].shape[:2]
        size = given["p.actor.weight"].shape[0]
        number = {"rnn": 1, "gru": 1, "lstm": 2, "warp": 3}[kind]
        self.empty = (jnp.zeros((self.batch, size)),) * number
        self.adam = optax.adam(LR)
        self.run = jax.jit(self.iterate, donate_argnums=0)

    def begin(self) -> Any:
        """Weights, moments of the fast and the slow side, sums of slow gradients, iterations."""
        fast, slow = self.sides(self.params)
        zeros = jax.tree.map(jnp.zeros_like, slow)
        return self.params, self.adam.init(fast), self.adam.init(slow), zeros, 0

    def sides(self, p: Arrays) -> tuple[Arrays, Arrays]:
        slow = {n: v for n, v in p.items() if n.startswith("core.warp_")}
        return {n: v for n, v in p.items() if n not in slow}, slow

    def play(self, p: Arrays, goals: Any, draws: Any, noise: Any, zeros: Any) -> Any:
        """T steps; beside the trial, what stood left of every product where zeros are given."""
        weights = matrices(p)
        actor, bias = (lax.stop_gradient(p[f"actor.{n}"]) for n in ("weight", "bias"))
        targets = draws + (draws >= goals)  # anywhere but on the goal

        def once(carry: Any, now: Any) -> Any:
            state, cell, x = carry
            t, target, gumbel, zero = now
            left = {}

            def dot(name: str, y: Any) -> Any:
                if zero is None:
                    return y @ weights[name]
                left[name] = y
                return y @ lax.stop_gradient(weights[name]) + zero[name]

            state = step(self.kind, dot, p, x, state)
            action = jnp.argmax(lax.stop_gradient(state[0]) @ actor + bias + gumbel, -1)
            there = self.next_cell[cell, action]
            found = there == goals
            cell = jnp.where(found, target, there)
            reward = jnp.where(found, 10.0, 0.0)
            clock = jnp.full(self.batch, (t + 1) / self.horizon)
            told = jnp.stack([jnp.zeros(self.batch), jnp.ones(self.batch), clock, reward], -1)
            x = jnp.concatenate([self.patch[cell], told, jax.nn.one_hot(action, 4)], -1)
            return (state, cell, x), (state[0], action, reward, left)

        x = jnp.zeros((self.batch, 17)).at[:, 10].set(1.0).at[:, :9].set(self.patch[self.start])
        first = self.empty, jnp.full(self.batch, self.start), x
        steps = jnp.arange(self.horizon, dtype=jnp.float32), targets, noise, zeros
        return lax.scan(once, first, steps)[1]

    def gradient(self, p: Arrays, goals: Any, draws: Any, noise: Any) -> Arrays:
        """The gradient of the loss of a trial that is played on the way."""

        def loss(p: Arrays, zeros: Any) -> Any:
            hidden, actions, rewards, left = self.play(p, goals, draws, noise, zeros)
            return loss_of(p, hidden, actions, rewards), left

        if not self.hoisted:
            return jax.grad(loss, has_aux=True)(p, None)[0]
        weights, back = jax.vjp(matrices, p)
        sizes = self.horizon, self.batch
        zeros = {name: jnp.zeros((*sizes, w.shape[1])) for name, w in weights.items()}
        (rest, found), left = jax.grad(loss, (0, 1), has_aux=True)(p, zeros)
        products = {n: jnp.einsum("tbi,tbj->ij", left[n], d) for n, d in found.items()}
        (hoisted,) = back(products)
        return jax.tree.map(jnp.add, rest, hoisted)

    def iterate(self, state: Any, key: Any) -> Any:
        """Play, clip, step; the slow side on the mean of ten gradients."""
        p, of_fast, of_slow, sums, n = state
        of_goals, of_draws, of_noise = jax.random.split(key, 3)
        cells, sizes = self.patch.shape[0], (self.horizon, self.batch)
        goals = jax.random.randint(of_goals, (self.batch,), 0, cells - 1)
        goals = goals + (goals >= self.start)
        draws = jax.random.randint(of_draws, sizes, 0, cells - 1)
        gradient = self.gradient(p, goals, draws, jax.random.gumbel(of_noise, (*sizes, 4)))
        norm = optax.global_norm(gradient)
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, CLIP / norm), gradient)
        (fast, slow), (grads, more) = self.sides(p), self.sides(gradient)
        changes, of_fast = self.adam.update(grads, of_fast)
        fast, sums, n = optax.apply_updates(fast, changes), jax.tree.map(jnp.add, sums, more), n + 1

        def stepped(slow: Any, of_slow: Any, sums: Any) -> Any:
            mean = jax.tree.map(lambda g: g / PERIOD, sums)
            changes, of_slow = self.adam.update(mean, of_slow)
            return optax.apply_updates(slow, changes), of_slow, jax.tree.map(jnp.zeros_like, sums)

        if slow:
            due = n % PERIOD == 0
            slow, of_slow, sums = lax.cond(due, stepped, lambda *a: a, slow, of_slow, sums)
        return ({**fast, **slow}, of_fast, of_slow, sums, n), norm

    def difference(self, given: dict[str, np.ndarray]) -> float:
        """Between gradients of our trial, as a part of the norm of ours."""
        trial = (jnp.asarray(given[name]) for name in ("goals", "draws", "noise"))
        found = jax.jit(self.gradient)(self.params, *trial)
        ours = {n[2:]: v for n, v in given.items() if n.startswith("g.")}
        apart = sum(float(((np.asarray(found[n]) - g) ** 2).sum()) for n, g in ours.items())
        return float(np.sqrt(apart / sum(float((g**2).sum()) for g in ours.values())))


def main(kind: str, variant: str, file: str) -> None:
    """Say the difference, then time an iteration for every line that comes in."""
    jax.config.update("jax_platforms", "cpu")
    given = dict(np.load(file))
    work = Iteration(kind, variant, given)
    state, keys = work.begin(), map(jax.random.key, itertools.count())
    print(work.difference(given), flush=True)
    for _ in sys.stdin:
        started = time.process_time()
        state, norm = work.run(state, next(keys))
        jax.block_until_ready((state, norm))
        print((time.process_time() - started) * 1e3, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
