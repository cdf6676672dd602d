"""Log-probabilities, entropies, divergences and Fisher information, against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, distributions

from metarl.rl import Categorical, Distribution, Gaussian

G = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 4, 5, 3, generator=G, dtype=torch.float64)
OTHER = torch.randn(2, 4, 5, 3, generator=G, dtype=torch.float64)
PARAMS = {"log_std": torch.randn(2, 3, generator=G, dtype=torch.float64)}


def outputs(distribution: Distribution, means: Tensor = LOGITS, scale: float = 1.0) -> Tensor:
    params = {n: scale * p for n, p in PARAMS.items()}
    flat = distribution.outputs(params, means.flatten(1, 2))
    return flat.view(*means.shape[:3], -1)


def reference(means: Tensor = LOGITS, scale: float = 1.0) -> distributions.Distribution:
    std = (scale * PARAMS["log_std"]).exp()[:, None, None].expand_as(means)
    return distributions.Independent(distributions.Normal(means, std), 1)


def test_categorical_is_that_of_torch() -> None:
    family, p, q = Categorical(3), distributions.Categorical(logits=LOGITS), OTHER
    actions = torch.randint(3, LOGITS.shape[:-1], generator=G)
    other = distributions.Categorical(logits=q)
    assert torch.allclose(family.log_prob(LOGITS, actions), p.log_prob(actions))
    assert torch.allclose(family.entropy(LOGITS), p.entropy())
    assert torch.allclose(family.kl(LOGITS, q), distributions.kl_divergence(p, other))


def test_gaussian_is_that_of_torch_and_sums_over_the_dimensions_of_an_action() -> None:
    """A mean over dimensions would make every importance ratio its A-th root."""
    family, p, q = Gaussian(3), reference(), reference(OTHER, 0.5)
    actions = torch.randn(LOGITS.shape, generator=G, dtype=torch.float64)
    now, then = outputs(family), outputs(family, OTHER, 0.5)
    assert family.log_prob(now, actions).shape == LOGITS.shape[:-1]
    assert torch.allclose(family.log_prob(now, actions), p.log_prob(actions))
    assert torch.allclose(family.entropy(now), p.entropy())
    assert torch.allclose(family.kl(now, then), distributions.kl_divergence(p, q))


@pytest.mark.parametrize("family", [Categorical(3), Gaussian(3)])
def test_fisher_is_the_hessian_of_the_divergence(family: Distribution) -> None:
    at = outputs(family)[0, 0, 0]
    hessian = torch.autograd.functional.hessian(lambda new: family.kl(at, new), at)
    v = torch.randn(at.shape, generator=G, dtype=torch.float64)
    assert torch.allclose(family.fisher(at, v), hessian @ v, atol=1e-12)


@pytest.mark.parametrize("family", [Categorical(3), Gaussian(3)])
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
    assert torch.equal(
        family.choose(means)[0, 0, 0], torch.tensor(2) if actions.dim() == 3 else means[0, 0, 0]
    )


def test_the_deviation_has_a_floor() -> None:
    family = Gaussian(1, min_std=0.1)
    params = {"log_std": torch.tensor([[-50.0]], requires_grad=True)}
    out = family.outputs(params, torch.zeros(1, 2, 1))
    assert torch.allclose(out[..., 1], torch.tensor(math.log(0.1)))
    family.log_prob(out, torch.ones(1, 2, 1)).sum().backward()
    assert params["log_std"].grad == 0


def test_deviations_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 < min_std <= initial_std, got 0\.5 and 0\.1"):
        Gaussian(2, initial_std=0.1, min_std=0.5)
