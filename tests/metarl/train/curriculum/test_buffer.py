import pytest
import torch

from metarl.train.curriculum import LevelBuffer, Priorities


def rows(*numbers):
    return torch.tensor(numbers).view(-1, 1), torch.tensor(numbers)


def scores(*values):
    return torch.tensor(values, dtype=torch.float64)


def filled(values, capacity=None, **priorities):
    """Levels 0, 1, ... of these scores, all met at time 1."""
    buffer = LevelBuffer(capacity or len(values), 1, Priorities(**priorities), torch.device("cpu"))
    levels, keys = rows(*range(len(values)))
    columns = {"scores": scores(*values), "highest": scores(*[0.0] * len(values))}
    stamps = {"stamps": torch.ones_like(keys), "clock": 1, "refused": 0}
    buffer.load_state_dict({"levels": levels, "keys": keys, **columns, **stamps})
    return buffer


def test_weights_are_those_of_the_paper():
    """By hand: ranks 1, 2, 3 at temperature 1/2 weigh 1, 1/4, 1/9; ages 0, 1, 3."""
    priorities = Priorities(temperature=0.5, staleness=0.25)
    weights = priorities.weights(scores(5.0, 9.0, 1.0), torch.tensor([0, 1, 3]))
    total = 1 + 1 / 4 + 1 / 9
    by_score = [1 / 4 / total, 1 / total, 1 / 9 / total]
    expected = [0.75 * s + 0.25 * a for s, a in zip(by_score, (0, 1 / 4, 3 / 4), strict=True)]
    assert weights.tolist() == pytest.approx(expected, rel=1e-12)
    assert float(weights.sum()) == pytest.approx(1)


def test_without_ages_all_are_equally_stale():
    weights = Priorities(staleness=1.0).weights(scores(3.0, 1.0), torch.zeros(2))
    assert weights.tolist() == [0.5, 0.5]


def test_levels_are_sampled_by_their_weights_and_once_each_while_there_are_enough():
    buffer, generator = filled([4.0, 3.0, 2.0, 1.0], staleness=0.0), torch.Generator()
    generator.manual_seed(0)
    assert sorted(buffer.sample(4, generator).tolist()) == [0, 1, 2, 3]
    assert len(buffer.sample(6, generator)) == 6  # more than there are: some twice
    counts = torch.zeros(4)
    for _ in range(4000):
        counts[buffer.sample(1, generator)] += 1
    expected = 4000 * buffer.weights
    assert float(((counts - expected) ** 2 / expected).sum()) < 16.3  # chi-square(3), 1 in 1,000


def test_a_level_grows_stale_until_it_is_played():
    buffer, generator = filled([1.0, 1.0], staleness=1.0), torch.Generator()
    slots = [int(buffer.sample(1, generator)) for _ in range(6)]
    assert slots[1:] in ([0, 1, 0, 1, 0], [1, 0, 1, 0, 1])  # what was played has age 0


def test_no_level_is_there_twice():
    buffer = filled([1.0, 2.0], capacity=4)
    buffer.insert(*rows(1, 5, 5, 1), scores(7.0, 3.0, 4.0, 6.0), torch.tensor([1.0, 2, 3, 9]))
    assert buffer.keys.tolist() == [0, 1, 5]
    assert buffer.scores.tolist() == [1.0, 7.0, 4.0]  # the best of what came at once
    assert buffer.highest.tolist() == [0.0, 1.0, 3.0]
    assert buffer.stamps.tolist() == [1, 2, 2]


def test_a_full_buffer_gives_up_its_lowest_weights_to_better_scores():
    buffer = filled([5.0, 1.0, 3.0], staleness=0.0)
    buffer.insert(*rows(7, 8, 9), scores(2.0, 0.5, 4.0), torch.zeros(3))
    # 4 takes the place of 1, the lowest; 2 stands against 3 and is not better.
    assert buffer.keys.tolist() == [0, 9, 2]
    buffer.insert(*rows(7, 8), scores(3.5, 6.0), torch.zeros(2))
    assert buffer.keys.tolist() == [0, 9, 8]


def test_room_goes_to_the_best():
    buffer = filled([1.0], capacity=2)
    buffer.insert(*rows(4, 5, 6), scores(2.0, 9.0, 0.5), torch.zeros(3))
    assert buffer.keys.tolist() == [4, 5]  # 5 into the room, 4 in place of 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_never_enter_and_are_counted(value):
    buffer = filled([1.0, 2.0], capacity=4)
    buffer.insert(*rows(3, 4), scores(value, 5.0), torch.zeros(2))
    buffer.update(torch.tensor([0, 1]), scores(value, 3.0), torch.ones(2))
    assert buffer.keys.tolist() == [0, 1, 4]
    assert buffer.scores.tolist() == [1.0, 3.0, 5.0]
    assert buffer.highest.tolist() == [0.0, 1.0, 0.0]
    assert buffer.refused == 2


def test_the_best_of_a_level_that_was_played_twice_counts():
    buffer = filled([5.0, 5.0])
    buffer.update(torch.tensor([1, 1, 0]), scores(1.0, 2.0, -3.0), torch.tensor([4.0, 7.0, 1.0]))
    assert buffer.scores.tolist() == [-3.0, 2.0]
    assert buffer.highest.tolist() == [1.0, 7.0]


def test_a_buffer_goes_on_where_it_was_saved():
    one, generator = filled([3.0, 2.0, 1.0]), torch.Generator().manual_seed(1)
    one.sample(2, generator)
    one.insert(*rows(9), scores(float("nan")), torch.zeros(1))
    other = LevelBuffer(3, 1, Priorities(), torch.device("cpu"))
    other.load_state_dict(one.state_dict())
    state = generator.get_state()
    first = one.sample(3, generator)
    generator.set_state(state)
    assert torch.equal(first, other.sample(3, generator))
    assert (other.clock, other.refused) == (one.clock, 1)
    small = LevelBuffer(2, 1, Priorities(), torch.device("cpu"))
    with pytest.raises(ValueError, match="3 levels of 1 numbers, the settings ask for 2 of 1"):
        small.load_state_dict(one.state_dict())


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="capacity of 0"):
        LevelBuffer(0, 1, Priorities(), torch.device("cpu"))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Priorities(temperature=0.0)
    with pytest.raises(ValueError, match="staleness must lie in"):
        Priorities(staleness=1.5)
    empty = LevelBuffer(1, 1, Priorities(), torch.device("cpu"))
    with pytest.raises(ValueError, match="the buffer is empty"):
        empty.sample(1, torch.Generator())
