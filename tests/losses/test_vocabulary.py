"""The vocabulary in parts: two processes over gloo, each with half of the columns, against one with all of them."""

import subprocess
import sys

import torch

from frpo_verl.losses.vocabulary import WHOLE

PROGRAM = """
import sys
import torch
import torch.distributed as dist
from frpo_verl.losses.future_policy import future_policy
from frpo_verl.losses.vocabulary import part_of

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.set_num_threads(1)
torch.manual_seed(0)

def check(tokens, vocabulary, dtype, strength, tolerance, ruled_out=False):
    policy, reference = 3 * torch.randn(2, tokens, vocabulary, dtype=torch.float64).to(dtype)
    labels, weight = torch.randint(vocabulary, (tokens,)), torch.randn(tokens, dtype=torch.float64)
    half = vocabulary // 2
    if ruled_out:
        policy[:, half:] = reference[:, half:] = -torch.inf
        labels = labels % half
    own = slice(rank * half, (rank + 1) * half)
    mine = policy[:, own].clone().requires_grad_()
    policy.requires_grad_()
    whole = future_policy(policy, reference, labels, strength)
    found = future_policy(mine, reference[:, own], labels, strength, part_of(dist.group.WORLD))
    for one, other in zip(found, whole, strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=0, atol=tolerance), (one - other).abs().max()
    (weight * found.log_prob).sum().backward()
    (weight * whole.log_prob).sum().backward()
    assert torch.allclose(mine.grad, policy.grad[:, own], rtol=2**-8 if dtype == torch.bfloat16 else 0, atol=tolerance)
    seen = [torch.empty_like(found.log_prob) for _ in range(2)]
    dist.all_gather(seen, found.log_prob.detach())
    assert torch.equal(*seen), "the ranks differ"

check(40, 30, torch.float64, 1.5, 1e-12)
check(40, 30, torch.float64, 0.0, 1e-12)
check(40, 30, torch.float32, 1.5, 2e-5)
check(40, 3000, torch.bfloat16, 1.5, 2e-5)
check(40, 30, torch.float64, 1.5, 1e-12, ruled_out=True)
try:
    future_policy(torch.zeros(1, 5), torch.zeros(1, 5), torch.tensor([10]), 1.0, part_of(dist.group.WORLD))
except ValueError as error:
    assert "is 10, and the vocabulary has 10 entries" in str(error)
else:
    raise AssertionError("a label outside of both parts")
print("equal")
"""


def test_two_processes_with_half_of_the_vocabulary_each_get_what_one_gets(tmp_path):
    command = [sys.executable, "-P", "-c", PROGRAM]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    assert [rank.communicate(timeout=120)[0].strip() for rank in ranks] == ["equal", "equal"]


def test_a_process_that_is_alone_hears_itself():
    values = torch.arange(3.0)
    assert WHOLE[:2] == (0, 1)
    assert WHOLE.maximum(values).tolist() == WHOLE.total(values).tolist() == [0, 1, 2]
