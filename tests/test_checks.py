"""Bad input gets one sentence. The type checker of the tests would speak first, so the sentences come from outside."""

import json
import subprocess
import sys

import pytest

CASES = {
    "another length": (
        "return_to_go(torch.zeros(2, 3), torch.ones(2, 4), REVERSE_KL)",
        "log_ratio has shape (2, 3) and response_mask (2, 4): pad or cut both to the same (batch, tokens)",
    ),
    "one dimension": (
        "return_to_go(torch.zeros(3), torch.ones(3), REVERSE_KL)",
        "response_mask has shape (3,): it must be (batch, tokens)",
    ),
    "integers": (
        "return_to_go(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3), REVERSE_KL)",
        "log_ratio is torch.int64: it must be a floating dtype, for instance torch.float32",
    ),
    "a complex mask": (
        "return_to_go(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.complex64), REVERSE_KL)",
        "response_mask is torch.complex64: it must be boolean, or a number that is 0 or 1",
    ),
    "two devices": (
        "return_to_go(torch.zeros(2, 3), torch.ones(2, 3, device='meta'), REVERSE_KL)",
        "log_ratio is on cpu and response_mask on meta: put them on one device",
    ),
    "a nested tensor": (
        "return_to_go(nested([2, 1]), torch.ones(2, 2), REVERSE_KL)",
        "log_ratio is a nested tensor: it must be padded, see torch.nested.to_padded_tensor",
    ),
    "a nested mask": (
        "return_to_go(torch.zeros(2, 2), nested([2, 1]), REVERSE_KL)",
        "response_mask is a nested tensor: it must be padded, see torch.nested.to_padded_tensor",
    ),
    "nested outcomes": (
        "regularise_batch(nested([2, 1]), *torch.zeros(2, 2, 3), torch.ones(2, 3), 0.1)",
        "outcome is a nested tensor: it must be padded, see torch.nested.to_padded_tensor",
    ),
    "numpy": (
        "return_to_go(torch.zeros(2, 3).numpy(), torch.ones(2, 3), REVERSE_KL)",
        "log_ratio is a ndarray: it must be a torch tensor, see torch.as_tensor",
    ),
    "a name for a generator": (
        "return_to_go(torch.zeros(2, 3), torch.ones(2, 3), 'k3')",
        "generator is 'k3': it must be a Generator, for instance by_name('k3')",
    ),
    "a number for a sum": (
        "return_to_go(torch.zeros(2, 3), torch.ones(2, 3), REVERSE_KL, 0.9)",
        "later is 0.9: pass a function, for instance discounted(0.9) or within(100)",
    ),
    "no name": ("by_name(None)", "divergence None: a name is a string, for instance 'kl'"),
    "names for groups": (
        "normalise_by_group(torch.zeros(2), ['a', 'b'])",
        "group is a list: it must be a torch tensor of integers; of names, see number_groups",
    ),
    "a text for a separator": (
        "ends_by_separator(torch.zeros(2, 3).long(), torch.ones(2, 3).bool(), 'n')",
        "separator 'n': it must be the id of a token, see tokenizer.encode",
    ),
    "a text for beta": (
        "frpo_advantage(torch.zeros(2), torch.zeros(2).long(), torch.zeros(2, 3), torch.ones(2, 3), '0.01')",
        "beta is '0.01': it must be a finite number that is not negative, for instance 0.01",
    ),
    "no beta": (
        "frpo_advantage(torch.zeros(2), torch.zeros(2).long(), torch.zeros(2, 3), torch.ones(2, 3), None)",
        "beta is None: it must be a finite number that is not negative, for instance 0.01",
    ),
    "an outcome of another length": (
        "frpo_advantage(torch.zeros(2), torch.zeros(2).long(), torch.zeros(2, 3), torch.ones(2, 3), 0.1, "
        "outcome=lambda scores, group: scores[:1])",
        "outcome has shape (1,): it must hold one value for each of the 2 rows of response_mask",
    ),
    "an outcome that is not finite": (
        "regularise_batch(torch.tensor([0.0, float('nan')]), *torch.zeros(2, 2, 3), torch.ones(2, 3), 0.1)",
        "outcome of sample 1 is nan: look at the sample's reward",
    ),
    "an outcome that would be broadcast": (
        "regularise(torch.zeros(1), torch.zeros(2, 3), torch.ones(2, 3), 0.1)",
        "outcome has shape (1,): it must hold one value for each of the 2 rows of response_mask",
    ),
    "a valid token that is not finite, in a divergence to go": (
        "regularise(torch.zeros(1), torch.tensor([[0.0, float('inf')]]), torch.ones(1, 2), 0.1)",
        "divergence_to_go of sample 0 at token 1 is inf although response_mask counts it, the first of 1: recompute "
        "that sample's log-probs, or mask the token out",
    ),
    "a valid token that is not finite, in values of steps": (
        "value_at_step_end(torch.tensor([[float('nan')]]), torch.ones(1, 1), torch.ones(1, 1).bool())",
        "values of sample 0 at token 0 is nan although response_mask counts it, the first of 1: recompute that "
        "sample's log-probs, or mask the token out",
    ),
    "ends that would be broadcast": (
        "value_at_step_start(torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 1).bool())",
        "ends are torch.bool of shape (2, 1): they must be boolean, of response_mask's shape (2, 3)",
    ),
    "a negative beta": (
        "frpo_advantage(torch.zeros(2), torch.zeros(2).long(), torch.zeros(2, 3), torch.ones(2, 3), -0.1)",
        "beta is -0.1: it must be a finite number that is not negative, for instance 0.01",
    ),
    "a beta that is no number": (
        "frpo_advantage(torch.zeros(2), torch.zeros(2).long(), torch.zeros(2, 3), torch.ones(2, 3), float('nan'))",
        "beta is nan: it must be a finite number that is not negative, for instance 0.01",
    ),
    "more scores than rows": (
        "frpo_advantage(torch.zeros(3), torch.zeros(3).long(), torch.zeros(2, 3), torch.ones(2, 3), 0.1)",
        "scores has shape (3,): it must hold one value for each of the 2 rows of response_mask",
    ),
    "more groups than scores": (
        "normalise_by_group(torch.zeros(3), torch.zeros(2).long())",
        "scores has shape (3,) and group (2,): both must be (batch,)",
    ),
    "groups that are no integers": (
        "normalise_by_group(torch.zeros(3), torch.zeros(3))",
        "group is torch.float32: it must hold integers, for instance torch.int64",
    ),
    "scores that are integers": (
        "normalise_by_group(torch.zeros(3).long(), torch.zeros(3).long())",
        "scores is torch.int64: it must be a floating dtype, for instance torch.float32",
    ),
    "scores elsewhere": (
        "normalise_by_group(torch.zeros(3, device='meta'), torch.zeros(3).long())",
        "scores is on meta and group on cpu: put them on one device",
    ),
    "groups for other rows": (
        "centre_in_group(torch.zeros(2, 3), torch.ones(2, 3).bool(), torch.zeros(3).long())",
        "group has shape (3,): it must hold one value for each of the 2 rows of response_mask",
    ),
    "responses of another shape": (
        "ends_by_separator(torch.zeros(2, 2).long(), torch.ones(2, 3).bool(), 5)",
        "responses have shape (2, 2) and response_mask (2, 3)",
    ),
    "token ids that are not integers": (
        "count_process_sets(torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2).long())",
        "token_ids is torch.float32: it must hold integers, for instance torch.int64",
    ),
    "token ids of another length": (
        "count_process_sets(torch.zeros(2, 3).long(), torch.ones(2, 4), torch.zeros(2).long())",
        "token_ids has shape (2, 3) and present (2, 4): both must be (batch, tokens), the same",
    ),
    "token ids of other groups": (
        "count_process_sets(torch.zeros(2, 3).long(), torch.ones(2, 3), torch.zeros(3).long())",
        "group has shape (3,): it must hold one integer for each of the 2 rows of token_ids",
    ),
    "token ids elsewhere": (
        "count_process_sets(torch.zeros(2, 3, device='meta').long(), torch.ones(2, 3), torch.zeros(2).long())",
        "token_ids is on meta and present on cpu: put them on one device",
    ),
    "token ids that are nested": (
        "count_process_sets(nested([2, 1]).long(), torch.ones(2, 2), torch.zeros(2).long())",
        "token_ids is a nested tensor: it must be padded, see torch.nested.to_padded_tensor",
    ),
    "sets of another mask": (
        "lambda_grpo(count_process_sets(torch.zeros(2, 3).long(), torch.ones(2, 3), torch.zeros(2).long()), "
        "torch.ones(2, 4))",
        "the process sets are those of tokens of shape (2, 3), and response_mask has (2, 4): both must be (batch, "
        "tokens), the same",
    ),
    "half a horizon": ("within(1.5)", "horizon 1.5: it must be a number of tokens, 0 or more"),
}

PROGRAM = """
import json, sys, torch
from frpo_verl.advantage import *
from frpo_verl.divergences import REVERSE_KL, by_name

def nested(lengths):
    return torch.nested.nested_tensor_from_jagged(torch.zeros(sum(lengths)), torch.tensor([0, *lengths]).cumsum(0))

said = {}
for name, call in json.load(sys.stdin).items():
    try:
        eval(call)
        said[name] = "nothing"
    except ValueError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    calls = json.dumps({name: call for name, (call, _) in CASES.items()})
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=calls, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_says_what_the_value_and_the_fix(said, name):
    assert said[name] == CASES[name][1]
