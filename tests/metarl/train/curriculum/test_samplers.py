import pytest
import torch

from metarl.train.curriculum import ACCEL, CURRICULA, PLR, SFL, Outcome, RobustPLR
from metarl.train.curriculum.accel import easiest
from metarl.train.curriculum.sampler import Offer, new_slots
from tests.metarl.train.curriculum.levels import Numbers


def outcome(returns, solved=None, values=None, surprise=None):
    returns = torch.as_tensor(returns, dtype=torch.float64)
    solved = (returns > 0).double() if solved is None else torch.as_tensor(solved)
    zero = torch.zeros_like(returns)
    values = zero if values is None else torch.as_tensor(values, dtype=torch.float64)
    surprise = returns if surprise is None else torch.as_tensor(surprise, dtype=torch.float64)
    return Outcome(returns, solved, values, surprise)


def sampler_of(curriculum, seed=0):
    return curriculum.sampler(Numbers(), torch.Generator().manual_seed(seed))


def kinds(sampler, count, n=4):
    """Kinds of the next offers, of levels that pay their own numbers, and who is learned from."""
    found = []
    for _ in range(count):
        offer = sampler.sample(n)
        sampler.update(offer, outcome(offer.levels[:, 0].double()))
        found.append((offer.kind, offer.learn))
    return found


def test_levels_are_replayed_in_a_rhythm_once_there_have_been_enough():
    plr = sampler_of(PLR(capacity=16, min_fill=0.5, replay_share=0.5))
    fresh, again = ("fresh", True), ("replayed", True)
    assert kinds(plr, 6) == [fresh, fresh, fresh, again, fresh, again]
    share = sampler_of(PLR(capacity=4, min_fill=1.0, replay_share=0.8))
    assert [kind for kind, _ in kinds(share, 11)][1:] == ["fresh", *["replayed"] * 4] * 2


def test_robust_plr_learns_from_replayed_levels_alone():
    robust = sampler_of(RobustPLR(capacity=8, min_fill=0.5))
    found = kinds(robust, 7)
    assert {kind for kind, learn in found if learn} == {"replayed"}
    assert {kind for kind, learn in found if not learn} == {"fresh"}


def test_accel_edits_what_it_has_replayed_and_learns_from_no_edit():
    accel = sampler_of(ACCEL(capacity=8, min_fill=0.5, replay_share=1.0, num_edits=3))
    source = accel.source
    first = accel.sample(4)
    accel.update(first, outcome([1.0, 2, 3, 4]))
    replayed = accel.sample(4)
    accel.update(replayed, outcome([1.0, 2, 3, 4]))
    edited = accel.sample(4)
    assert [(o.kind, o.learn) for o in (first, replayed, edited)] == [
        ("fresh", False),
        ("replayed", True),
        ("edited", False),
    ]
    assert torch.equal(edited.levels, replayed.levels + torch.tensor([0, 3]))
    assert edited.slots.tolist() == [-1] * 4
    accel.update(edited, outcome([9.0, 9, 9, 9]))
    assert set(source.keys(edited.levels).tolist()) <= set(accel.buffer.keys.tolist())
    assert accel.sample(4).kind == "replayed"


def test_the_easiest_parents_are_different_ones():
    """The published code takes one level four times."""
    returns = torch.tensor([0.1, 0.9, 0.3, 0.8, 0.9, 0.0])
    assert easiest(returns, 4).tolist() == [1, 4, 3, 2]
    assert easiest(returns, 9).tolist() == [1, 4, 3, 2, 0, 5]
    assert easiest(torch.tensor([0.5, torch.nan, 0.7]), 2).tolist() == [2, 0]
    accel = sampler_of(ACCEL(capacity=8, min_fill=1.0, replay_share=1.0, parents=2, num_edits=1))
    kinds(accel, 1, n=8)
    replayed = accel.sample(6)
    accel.update(replayed, outcome([0.0, 5.0, 1.0, 7.0, 2.0, 3.0]))
    edited = accel.sample(6).levels[:, 0].tolist()
    best = replayed.levels[[3, 1], 0].tolist()
    assert edited == best * 3


def test_max_mc_is_the_highest_return_ever_less_what_is_expected():
    plr = sampler_of(PLR(capacity=4, min_fill=1.0, replay_share=1.0, score="max-mc"))
    first = plr.sample(4)
    plr.update(first, outcome([1.0, 0.0, 5.0, 2.0], values=[0.5, 0.25, 4.0, 1.0]))
    by_level = dict(zip(plr.buffer.keys.tolist(), plr.buffer.scores.tolist(), strict=True))
    assert by_level == {0: 0.5, 1000: -0.25, 2000: 1.0, 3000: 1.0}
    again = plr.sample(4)
    plr.update(again, outcome([0.0] * 4, values=[0.1] * 4))  # nothing is earned this time
    by_level = dict(zip(plr.buffer.keys.tolist(), plr.buffer.scores.tolist(), strict=True))
    expected = {0: 0.9, 1000: -0.1, 2000: 4.9, 3000: 1.9}
    assert by_level == pytest.approx(expected)


def test_a_known_level_that_is_met_afresh_keeps_its_highest_return():
    plr = sampler_of(PLR(capacity=4, min_fill=1.0, score="max-mc"))
    levels = torch.tensor([[0, 0], [1, 0]])
    for returns in ([1.0, 2.0], [3.0, 0.0]):
        offer = Offer(levels, new_slots(levels), learn=True, kind="fresh")
        plr.update(offer, outcome(returns, values=[0.5, 0.5]))
    by_level = dict(zip(plr.buffer.keys.tolist(), plr.buffer.scores.tolist(), strict=True))
    assert by_level == {0: 2.5, 1000: 1.5}


def test_the_highest_return_of_a_level_that_comes_twice_is_that_of_either():
    plr = sampler_of(PLR(capacity=4, min_fill=1.0, replay_share=1.0))
    levels = torch.tensor([[0, 0], [0, 0], [1, 0]])
    offer = Offer(levels, new_slots(levels), learn=True, kind="fresh")
    plr.update(offer, outcome([0.0, 2.0, 1.0], surprise=[0.5, 0.25, 0.1]))
    assert plr.buffer.highest.tolist() == [2.0, 1.0]
    slots = torch.tensor([0, 0, 1])
    again = Offer(plr.buffer.levels[slots], slots, learn=True, kind="replayed")
    plr.update(again, outcome([3.0, torch.nan, 0.0], surprise=[0.1, torch.nan, 0.1]))
    assert plr.buffer.highest.tolist() == [3.0, 1.0]
    worth = sampler_of(PLR(capacity=4, min_fill=1.0, replay_share=1.0, score="max-mc"))
    worth.update(offer, outcome([0.0, 2.0, 1.0], values=[0.5, 1.5, 0.0]))
    assert worth.buffer.scores.tolist() == [1.5, 1.0]  # 2.0 - 0.5, of the one that earned nothing


def test_positive_value_is_what_came_out_better_than_expected():
    plr = sampler_of(PLR(capacity=4, min_fill=1.0))
    offer = plr.sample(4)
    plr.update(offer, outcome([1.0] * 4, surprise=[0.1, 0.2, float("nan"), 0.4]))
    assert sorted(plr.buffer.scores.tolist()) == [0.1, 0.2, 0.4]
    measured = plr.measured()
    assert (measured["buffer_levels"], measured["refused_scores"]) == (3, 1)
    assert measured["buffer_score"] == pytest.approx(0.7 / 3)


def test_sfl_keeps_what_is_sometimes_solved():
    sfl = sampler_of(SFL(capacity=2, period=2, scouts=1, attempts=4, kept_share=0.5))
    look = sfl.sample(16)
    assert (look.kind, look.learn) == ("scouted", False)
    assert look.levels[:, 0].tolist() == [n for n in range(4) for _ in range(4)]
    # Levels 0 to 3 are solved in 0, 1, 2 and 4 of 4 trials: p (1 - p) is 0, 3/16, 1/4, 0.
    solved = [0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    sfl.update(look, outcome([float(s) for s in solved]))
    assert sfl.kept[:, 0].tolist() == [2, 1]
    for _ in range(2):
        offer = sfl.sample(16)
        sfl.update(offer, outcome([0.0] * 16))
        assert (offer.kind, offer.learn) == ("mixed", True)
        assert set(offer.levels[:8, 0].tolist()) <= {1, 2}
        assert set(offer.levels[8:, 0].tolist()).isdisjoint({0, 1, 2, 3})
    assert sfl.sample(16).kind == "scouted"


def test_sfl_without_any_such_level_offers_fresh_ones():
    sfl = sampler_of(SFL(period=1, scouts=1, attempts=2))
    sfl.update(sfl.sample(4), outcome([1.0] * 4))
    assert len(sfl.kept) == 0
    offer = sfl.sample(4)
    assert offer.learn
    assert len(set(offer.levels[:, 0].tolist())) == 4


def test_sfl_counts_returns_that_are_not_finite():
    sfl = sampler_of(SFL(period=1, scouts=1, attempts=2))
    sfl.update(sfl.sample(4), outcome([float("nan"), 1.0, 1.0, 0.0]))
    assert sfl.measured() == {"buffer_levels": 1, "refused_scores": 1}


def test_attempts_divide_the_batch():
    with pytest.raises(ValueError, match="4 attempts at each level do not divide a batch of 6"):
        sampler_of(SFL()).sample(6)


SMALL = {
    "plr": PLR(capacity=8, min_fill=0.5),
    "robust-plr": RobustPLR(capacity=8, min_fill=0.5),
    "accel": ACCEL(capacity=8, min_fill=0.5, num_edits=2),
    "sfl": SFL(capacity=4, period=3, scouts=2, attempts=2),
}


def test_every_curriculum_has_a_small_one_here():
    assert set(SMALL) == {name for name, c in CURRICULA.items() if c.samples}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("saved_at", [1, 3, 4, 6])
def test_a_sampler_goes_on_where_it_was_saved(name, saved_at):
    def played(sampler, count):
        offers = []
        for _ in range(count):
            offer = sampler.sample(4)
            pays = (offer.levels[:, 0] * 7 % 5).double()
            sampler.update(offer, outcome(pays))
            offers.append((offer.levels.tolist(), offer.learn, offer.kind))
        return offers

    whole = played(sampler_of(SMALL[name]), 12)
    first = sampler_of(SMALL[name])
    before = played(first, saved_at)
    then = sampler_of(SMALL[name], seed=9)
    then.source = first.source
    then.generator.set_state(first.generator.get_state())
    then.load_state_dict(first.state_dict())
    assert before + played(then, 12 - saved_at) == whole


def test_the_rhythm_does_not_depend_on_what_is_earned():
    for curriculum in SMALL.values():
        one, other = sampler_of(curriculum), sampler_of(curriculum, seed=1)
        for _ in range(12):
            offers = one.sample(4), other.sample(4)
            one.update(offers[0], outcome([float("nan")] * 4))
            other.update(offers[1], outcome([1.0, 2.0, 0.0, 3.0]))
            assert offers[0].learn == offers[1].learn


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PLR(capacity=0), "capacity must be at least 1, got 0"),
        (lambda: PLR(replay_share=0.0), r"replay_share must lie in \(0, 1\], got 0.0"),
        (lambda: PLR(min_fill=1.5), r"min_fill must lie in \(0, 1\], got 1.5"),
        (lambda: PLR(score="regret"), "score must be one of max-mc, positive-value, got 'regret'"),
        (lambda: PLR(temperature=-1.0), "temperature must be above 0"),
        (lambda: ACCEL(num_edits=0), "num_edits must be at least 1"),
        (lambda: ACCEL(parents=0), "parents must be at least 1, or None"),
        (lambda: SFL(attempts=1), "attempts must be at least 2, got 1"),
        (lambda: SFL(kept_share=0.0), r"kept_share must lie in \(0, 1\]"),
    ],
)
def test_bad_settings_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
