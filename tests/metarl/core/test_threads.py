"""Work in several threads: modes travel, modules that are shared stay whole."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import metarl
from metarl.core import Execution, sgd
from metarl.core.execution import in_modes_of_this_thread
from metarl.fewshot import SupervisedTasks
from metarl.fewshot.criteria import cross_entropy
from metarl.meta import MAML, Reptile


class Chunks:
    """Tasks of which nothing is asked but how many they are."""

    def __init__(self, num_tasks):
        self.num_tasks = num_tasks

    def select(self, tasks):
        return Chunks(len(range(*tasks.indices(self.num_tasks))))


def seen_modes(_):
    product = torch.ones(2, 2) @ torch.ones(2, 2)
    return product.dtype, torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@pytest.mark.parametrize("modes", [(), (torch.no_grad,), (torch.inference_mode,)])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_modes_of_the_thread_travel(modes, dtype):
    def run(execution):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            return [found for _, found in execution.map(seen_modes, Chunks(4))]

    for mode in modes:
        run = mode()(run)
    alone = run(Execution(chunk_size=2))
    assert run(Execution(chunk_size=2, num_threads=2)) == alone
    assert alone[0][0] == (dtype or torch.float32)


def test_the_modes_of_the_worker_are_as_they_were_afterwards():
    with torch.no_grad():
        work = in_modes_of_this_thread(seen_modes)
    assert not work(None)[1]
    assert torch.is_grad_enabled()


def make(execution, learner):
    torch.manual_seed(0)
    images = torch.rand(100, 1, 8, 8, dtype=torch.float64)
    tasks = metarl.TaskDataset((images, torch.arange(100) % 10), ways=5, shots=1, query_shots=3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5)).double()
    own = dict(net.named_parameters())

    def nets(params, x):
        return torch.vmap(lambda p, x: functional_call(net, p, (x,)))(params, x)

    one = learner(own, rule=sgd(0.1), num_steps=2, execution=execution)
    for _ in range(3):
        list(one.meta_gradients(SupervisedTasks(nets, tasks[:32], cross_entropy)))
    assert dict(net.named_parameters()) == own
    return [p.grad for p in one.params.values()]


@pytest.mark.parametrize("learner", [MAML, Reptile])
def test_a_module_that_all_threads_share_gives_the_serial_gradient(learner):
    serial = make(Execution(chunk_size=4), learner)
    for one, other in zip(make(Execution(4, num_threads=3), learner), serial, strict=True):
        assert torch.equal(one, other)


def test_a_network_without_reference_examples_is_not_asked_to_normalise_by_them():
    data = metarl.TaskDataset(
        (torch.rand(40, 3), torch.arange(40) % 4), ways=2, shots=1, query_shots=1
    )
    params = {"w": torch.ones(2, 3, 2)}

    def plain(params, x):
        return x @ params["w"]

    def with_reference(params, x, num_reference=0):
        return x @ params["w"] + num_reference

    x = data[:2].draw("support").inputs
    assert SupervisedTasks(plain, data[:2], cross_entropy).outputs(params, {}, x).shape == (2, 2, 2)
    with pytest.raises(ValueError, match="takes no num_reference"):
        SupervisedTasks(plain, data[:2], cross_entropy).outputs(params, {}, x, 1)
    informed = SupervisedTasks(with_reference, data[:2], cross_entropy)
    torch.testing.assert_close(informed.outputs(params, {}, x, 1), x @ params["w"] + 1)
