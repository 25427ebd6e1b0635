"""grpo's outcome advantage of one number per response, against verl's own function."""

import numpy as np
import pytest
import torch

from frpo_verl.advantage import number_groups
from frpo_verl.verl_plugin import outcome

pytest.importorskip("verl")


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [[5] * 40, [1, 2, 3, 4, 7, 8, 16, 33, 64, 100], [1]], ids=str)
def test_it_is_verls_function_to_the_bit(sizes, dtype, norm):
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    names = np.repeat([f"prompt-{n}" for n in range(len(sizes))], sizes).astype(object)
    names = names[torch.randperm(len(names)).numpy()] if len(names) > 1 else names
    for scores in (3 * torch.randn(len(names), dtype=dtype) + 1, torch.randint(2, (len(names),)).to(dtype)):
        column = scores[:, None], torch.ones(len(names), 1, dtype=torch.long)
        expected, _ = compute_grpo_outcome_advantage(*column, names, norm_adv_by_std_in_grpo=norm)
        assert torch.equal(outcome.as_grpo(scores, number_groups(names), norm), expected[:, 0])


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
def test_a_column_holds_sums_of_rewards_and_whether_any_token_is_valid(dtype):
    from verl import DataProto

    mask = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1]]).to(dtype)
    rewards = torch.arange(12.0).view(4, 3)
    uid = np.array(["a", "a", "b", "b"], dtype=object)
    data = DataProto.from_dict({"token_level_rewards": rewards, "response_mask": mask}, {"uid": uid})
    made = outcome.column(data)
    assert made.batch["token_level_rewards"].tolist() == [[3.0], [12.0], [21.0], [30.0]]
    assert made.batch["response_mask"].tolist() == [[1], [1], [0], [1]]
    assert made.non_tensor_batch["uid"].tolist() == uid.tolist()
