"""Log-probabilities, entropies, divergences and Fisher information, against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, distributions

from metarl.rl import Bernoulli, Categorical, Distribution, Gaussian, MultiCategorical
from metarl.rl.distributions import log_softmax

G = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 4, 5, 3, generator=G, dtype=torch.float64)
OTHER = torch.randn(2, 4, 5, 3, generator=G, dtype=torch.float64)
FAMILIES = [Categorical(3), MultiCategorical((2, 1)), Bernoulli(3), Gaussian(3)]
PARAMS = {"log_std": torch.randn(2, 3, generator=G, dtype=torch.float64)}


def outputs(distribution: Distribution, means: Tensor = LOGITS, scale: float = 1.0) -> Tensor:
    params = {n: scale * p for n, p in PARAMS.items()}
    flat = distribution.outputs(params, means.flatten(1, 2))
    return flat.view(*means.shape[:3], -1)


def described(distribution: Distribution, logits: Tensor) -> Tensor:
    """Outputs of logits ``[..., A]``."""
    return distribution.outputs({}, logits.reshape(1, -1, logits.shape[-1])).view(logits.shape)


def reference(means: Tensor = LOGITS, scale: float = 1.0) -> distributions.Distribution:
    std = (scale * PARAMS["log_std"]).exp()[:, None, None].expand_as(means)
    return distributions.Independent(distributions.Normal(means, std), 1)


def test_categorical_is_that_of_torch() -> None:
    family, p, q = Categorical(3), distributions.Categorical(logits=LOGITS), OTHER
    here, there = described(family, LOGITS), described(family, q)
    actions = torch.randint(3, LOGITS.shape[:-1], generator=G)
    other = distributions.Categorical(logits=q)
    assert torch.allclose(family.log_prob(here, actions), p.log_prob(actions))
    assert torch.allclose(family.entropy(here), p.entropy())
    assert torch.allclose(family.kl(here, there), distributions.kl_divergence(p, other))


def test_gaussian_is_that_of_torch_and_sums_over_the_dimensions_of_an_action() -> None:
    """A mean over dimensions would make every importance ratio its A-th root."""
    family, p, q = Gaussian(3), reference(), reference(OTHER, 0.5)
    actions = torch.randn(LOGITS.shape, generator=G, dtype=torch.float64)
    now, then = outputs(family), outputs(family, OTHER, 0.5)
    assert family.log_prob(now, actions).shape == LOGITS.shape[:-1]
    assert torch.allclose(family.log_prob(now, actions), p.log_prob(actions))
    assert torch.allclose(family.entropy(now), p.entropy())
    assert torch.allclose(family.kl(now, then), distributions.kl_divergence(p, q))


def test_bits_are_those_of_torch() -> None:
    p, q = (
        distributions.Independent(distributions.Bernoulli(logits=z), 1) for z in (LOGITS, OTHER)
    )
    family, actions = Bernoulli(3), torch.randint(2, LOGITS.shape, generator=G)
    assert torch.allclose(family.log_prob(LOGITS, actions), p.log_prob(actions.double()))
    assert torch.allclose(family.entropy(LOGITS), p.entropy())
    assert torch.allclose(family.kl(LOGITS, OTHER), distributions.kl_divergence(p, q))


def test_independent_choices_are_those_of_torch() -> None:
    family, counts = MultiCategorical([2, 1, 4]), (2, 1, 4)
    z, y = (torch.randn(5, 7, generator=G, dtype=torch.float64) for _ in range(2))
    p, q = (
        [distributions.Categorical(logits=part) for part in logits.split(counts, -1)]
        for logits in (z, y)
    )
    z, y = described(family, z), described(family, y)
    actions = torch.stack([torch.randint(n, (5,), generator=G) for n in counts], -1)
    parts = zip(p, actions.unbind(-1), strict=True)
    assert torch.allclose(family.log_prob(z, actions), sum(d.log_prob(a) for d, a in parts))
    assert torch.allclose(family.entropy(z), sum(d.entropy() for d in p))
    kl = sum(distributions.kl_divergence(a, b) for a, b in zip(p, q, strict=True))
    assert torch.allclose(family.kl(z, y), kl)


@pytest.mark.parametrize(
    ("family", "counts"), [(Bernoulli(3), (2, 2, 2)), (MultiCategorical((3, 1, 2)), (3, 1, 2))]
)
def test_sums_over_all_actions_say_the_same(family: Distribution, counts: tuple[int, ...]) -> None:
    """Probabilities add up to 1; entropy and divergence are what they are defined to be."""
    z, y = (torch.randn(family.num_means, generator=G, dtype=torch.float64) for _ in range(2))
    z, y = described(family, z), described(family, y)
    every = torch.cartesian_prod(*(torch.arange(n) for n in counts))  # [M, D]
    log_p, log_q = (family.log_prob(logits.expand(len(every), -1), every) for logits in (z, y))
    assert log_p.exp().sum().item() == pytest.approx(1)
    assert family.entropy(z).item() == pytest.approx(-(log_p.exp() * log_p).sum().item())
    assert family.kl(z, y).item() == pytest.approx((log_p.exp() * (log_p - log_q)).sum().item())
    assert torch.equal(family.choose(z), every[log_p.argmax()])
    assert family.simpson(z).item() == pytest.approx((2 * log_p).exp().sum().item())


@pytest.mark.parametrize("family", [Bernoulli(3), MultiCategorical((2, 1)), Gaussian(3)])
def test_derivatives_are_those_of_finite_differences(family: Distribution) -> None:
    a = outputs(family)[0, 0, :2].clone().requires_grad_()
    b = outputs(family, OTHER)[0, 0, :2].clone().requires_grad_()
    actions = family.choose(LOGITS[0, 0, :2]).detach()
    functions = (lambda z: family.log_prob(z, actions), family.entropy, lambda z: family.kl(z, b))
    for function in functions:
        assert torch.autograd.gradcheck(function, a)
        assert torch.autograd.gradgradcheck(function, a)


def test_independent_choices_generalise_categorical() -> None:
    one, many = Categorical(3), MultiCategorical([3])
    actions = torch.randint(3, LOGITS.shape[:-1], generator=G)
    assert torch.equal(many.log_prob(LOGITS, actions[..., None]), one.log_prob(LOGITS, actions))
    assert torch.equal(many.choose(LOGITS)[..., 0], one.choose(LOGITS))
    noises = [f.noise((4,), torch.Generator().manual_seed(2)) for f in (one, many)]
    assert torch.equal(*noises)
    with pytest.raises(ValueError, match=r"at least 1 choice, got \(\)"):
        MultiCategorical([])
    with pytest.raises(ValueError, match=r"at least 1 choice, got \(2, 0\)"):
        MultiCategorical([2, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 80.0, 3e4])
@pytest.mark.parametrize("family", FAMILIES)
def test_extreme_outputs_stay_finite_and_right(
    family: Distribution, scale: float, dtype: torch.dtype
) -> None:
    """Half precision is calculated with in single precision: exact for the outputs it rounds to."""
    z, y = (scale * t / t.abs().max() for t in (LOGITS, OTHER))
    params = {"log_std": PARAMS["log_std"].clamp(-6, 2).to(dtype)}
    means = [t.flatten(1, 2).to(dtype).requires_grad_() for t in (z, y)]
    out, other = (family.outputs(params, one) for one in means)
    actions = family.choose(out[..., : family.num_means].detach())
    found = (family.log_prob(out, actions), family.entropy(out), family.kl(out, other))
    exact = (
        family.log_prob(out.double(), actions),
        family.entropy(out.double()),
        family.kl(out.double(), other.double()),
    )
    for value, right in zip(found, exact, strict=True):
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        assert torch.isfinite(value).all()
        assert torch.allclose(value.double(), right, rtol=1e-4, atol=1e-6 * scale)
        (gradient,) = torch.autograd.grad(
            value.mean(), means[0], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        assert torch.isfinite(gradient).all()
    assert torch.isfinite(family.fisher(out, torch.ones_like(out))).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_fisher_is_the_hessian_of_the_divergence(family: Distribution) -> None:
    """By logits, or by means and log deviations: log-probabilities cannot move by themselves."""
    at = outputs(family)[0, 0, 0]

    def divergence(new: Tensor) -> Tensor:
        return family.kl(at, new if isinstance(family, Gaussian) else described(family, new))

    hessian = torch.autograd.functional.hessian(divergence, at)
    v = torch.randn(at.shape, generator=G, dtype=torch.float64)
    assert torch.allclose(family.fisher(at, v), hessian @ v, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_perturbed_means_are_samples(family: Distribution) -> None:
    size = (2, 20000, 1)
    means = torch.tensor([0.3, -0.5, 1.0]).expand(*size, 3)
    params = {"log_std": torch.tensor([[0.0, 0.5, -1.0]] * 2)}
    noise = family.noise(size, torch.Generator().manual_seed(1))
    actions = family.choose(means + family.perturbation(params, noise))
    out = family.outputs(params, means.flatten(1, 2)).view(*size, -1)
    # The mean log-probability of samples is minus the entropy.
    log_p = family.log_prob(out, actions)
    error = log_p.std() / log_p.numel() ** 0.5
    assert (log_p.mean() + family.entropy(out).mean()).abs() < 4 * error
    again = family.noise(size, torch.Generator().manual_seed(1))
    assert torch.equal(noise, again)
    greedy = {Categorical: 2, MultiCategorical: [0, 0], Bernoulli: [1, 0, 1]}
    expected = torch.tensor(greedy.get(type(family), means[0, 0, 0].tolist()))
    assert torch.equal(family.choose(means)[0, 0, 0], expected)


def test_the_deviation_has_a_floor() -> None:
    family = Gaussian(1, min_std=0.1)
    params = {"log_std": torch.tensor([[-50.0]], requires_grad=True)}
    out = family.outputs(params, torch.zeros(1, 2, 1))
    assert torch.allclose(out[..., 1], torch.tensor(math.log(0.1)))
    family.log_prob(out, torch.ones(1, 2, 1)).sum().backward()
    assert params["log_std"].grad == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_are_the_same_to_the_last_bit_in_any_company(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 54, dtype=dtype, generator=generator).transpose(1, 2)  # [N, M, A]
    together = log_softmax(logits)
    for rows in (slice(0, 1), slice(3, 7), slice(5, 18), slice(40, 54)):
        some = logits[:, rows].transpose(1, 2).contiguous().transpose(1, 2)
        assert torch.equal(log_softmax(some), together[:, rows])


def test_probabilities_are_the_same_wherever_logits_lie() -> None:
    """A view of ``[N, A, M]`` has the softmax of that axis, of the same values."""
    lying = LOGITS.flatten(1, 2).transpose(1, 2).contiguous().transpose(1, 2)
    for family in (Categorical(3), MultiCategorical((2, 1))):
        plain = family.outputs({}, LOGITS.flatten(1, 2))
        assert torch.allclose(family.outputs({}, lying), plain, rtol=1e-12)


def test_the_simpson_index_of_a_density_is_the_integral_of_its_square() -> None:
    family = Gaussian(1)
    out = family.outputs({"log_std": torch.tensor([[0.3]])}, torch.zeros(1, 1, 1))
    x = torch.linspace(-20, 20, 40001).view(1, -1, 1)
    density = family.log_prob(out.expand(1, 40001, 2), x).exp()
    integral = torch.trapezoid(density.square(), x[..., 0]).item()
    assert family.simpson(out).item() == pytest.approx(integral, rel=1e-4)


def test_deviations_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 < min_std <= initial_std, got 0\.5 and 0\.1"):
        Gaussian(2, initial_std=0.1, min_std=0.5)
