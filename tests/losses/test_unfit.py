"""Bad input gets one sentence. The type checker of the tests would speak first, so the sentences come from outside."""

import json
import subprocess
import sys

import pytest

CASES = {
    "a lambda that looks back": (
        "future_policy(*policies(), labels(), -0.5)",
        "lambda is -0.5: it must be a finite number that is not negative, for instance 1; 0 is the base method",
    ),
    "a lambda that is no number": (
        "future_policy(*policies(), labels(), float('nan'))",
        "lambda is nan: it must be a finite number that is not negative, for instance 1; 0 is the base method",
    ),
    "an endless lambda": (
        "without_normaliser(zeros(3), zeros(3), float('inf'))",
        "lambda is inf: it must be a finite number that is not negative, for instance 1; 0 is the base method",
    ),
    "a text for lambda": (
        "without_normaliser(zeros(3), zeros(3), '1')",
        "lambda is '1': it must be a finite number that is not negative, for instance 1; 0 is the base method",
    ),
    "a reference with another vocabulary": (
        "future_policy(zeros(4, 8), zeros(4, 9), labels(), 1.0)",
        "the policy has 8 columns of logits and the reference 9: both must have one vocabulary; take a reference with "
        "the policy's tokenizer and head",
    ),
    "logits of other tokens": (
        "future_policy(zeros(4, 8), zeros(3, 8), labels(), 1.0)",
        "logits have shape (4, 8), reference_logits (3, 8) and labels (4,): all must be of the same tokens",
    ),
    "labels of other tokens": (
        "future_policy(*policies(), labels()[:3], 1.0)",
        "logits have shape (4, 8), reference_logits (4, 8) and labels (3,): all must be of the same tokens",
    ),
    "logits with a batch": (
        "future_policy(zeros(1, 4, 8), zeros(4, 8), labels(), 1.0)",
        "logits are torch.float32 of shape (1, 4, 8): they must be floating, (tokens, vocabulary)",
    ),
    "logits that are integers": (
        "future_policy(zeros(4, 8), zeros(4, 8).long(), labels(), 1.0)",
        "reference_logits are torch.int64 of shape (4, 8): they must be floating, (tokens, vocabulary)",
    ),
    "labels that are not integers": (
        "future_policy(*policies(), zeros(4), 1.0)",
        "labels is torch.float32: it must hold integers, for instance torch.int64",
    ),
    "a label beyond the vocabulary": (
        "future_policy(*policies(), torch.tensor([0, 7, 8, 9]), 1.0)",
        "the label of token 2 is 8, and the vocabulary has 8 entries: tokenize with the policy's tokenizer, and put "
        "any of its tokens where none is meant",
    ),
    "a label that stands for none": (
        "future_policy(*policies(), torch.tensor([0, 7, 3, -100]), 1.0)",
        "the label of token 3 is -100, and the vocabulary has 8 entries: tokenize with the policy's tokenizer, and put "
        "any of its tokens where none is meant",
    ),
    "a pair of one row": (
        "dpo(rows(), rows(), pairs([0, 2], [1, 2]), 0.1)",
        "pair 1 is made of rows 2 and 2: it must be two different rows of the 3 of the batch",
    ),
    "a pair beyond the batch": (
        "simper(rows(), lengths(), pairs([0, 1], [1, 3]))",
        "pair 1 is made of rows 1 and 3: it must be two different rows of the 3 of the batch",
    ),
    "a pair from behind": (
        "rpo(rows(), rows(), lengths(), pairs([-1], [1]), 0.1, 1.0)",
        "pair 0 is made of rows -1 and 1: it must be two different rows of the 3 of the batch",
    ),
    "sides of different length": (
        "dpo(rows(), rows(), pairs([0, 1], [1]), 0.1)",
        "chosen has shape (2,) and rejected (1,): both must be (pairs,)",
    ),
    "pairs that are a mask": (
        "dpo(rows(), rows(), pairs([True, False], [False, True]), 0.1)",
        "chosen is torch.bool: it must hold integers, for instance torch.int64",
    ),
    "a negative beta": (
        "dpo(rows(), rows(), pairs([0], [1]), -0.1)",
        "beta is -0.1: it must be a finite number that is not negative, for instance 0.01",
    ),
    "a negative alpha": (
        "rpo(rows(), rows(), lengths(), pairs([0], [1]), 0.1, -1)",
        "alpha is -1: it must be a finite number that is not negative, for instance 1",
    ),
    "a reference of other responses": (
        "dpo(rows(), rows()[:2], pairs([0], [1]), 0.1)",
        "ref_log_prob is torch.float32 of shape (2,): it must hold one floating number for each of the 3 responses of "
        "log_prob",
    ),
    "log-probs per token": (
        "simper(zeros(3, 4), lengths(), pairs([0], [1]))",
        "log_prob is torch.float32 of shape (3, 4): it must hold one floating number for each of the 3 responses of "
        "log_prob",
    ),
    "a log-prob that is not finite": (
        "dpo(rows(), torch.tensor([0.0, float('nan'), 0.0]), pairs([0], [2]), 0.1)",
        "ref_log_prob of response 1 is nan: it must be finite",
    ),
    "an advantage that is not finite": (
        "outcome(rows(), lengths(), torch.tensor([0.0, 0.0, float('inf')]))",
        "advantages of response 2 is inf: it must be finite",
    ),
    "advantages that are integers": (
        "outcome(rows(), lengths(), torch.tensor([1, -1, 1]))",
        "advantages is torch.int64 of shape (3,): it must hold one floating number for each of the 3 responses of "
        "log_prob",
    ),
    "lengths of other responses": (
        "outcome(rows(), lengths()[:2], rows())",
        "lengths has shape (2,): it must hold one count, 1 or more, for each of the 3 responses",
    ),
    "a response without tokens": (
        "simper(rows(), torch.tensor([3, 0, 1]), pairs([0], [1]))",
        "lengths of response 1 is 0: it must be 1 or more, see response_lengths",
    ),
    "coefficients of other responses": (
        "surrogate(Coefficients(zeros(2), zeros(2)), zeros(3, 4), torch.ones(3, 4))",
        "up is torch.float32 of shape (2,): it must hold one floating number for each of the 3 responses of "
        "response_log_prob",
    ),
    "a coefficient that is not finite": (
        "surrogate(Coefficients(zeros(1), zeros(1).log()), zeros(1, 4), torch.ones(1, 4))",
        "down of response 0 is -inf: it must be finite",
    ),
    "a valid token that is not finite": (
        "response_log_prob(zeros(2, 3).log(), torch.tensor([[0, 0, 0], [0, 0, 1]]))",
        "log_prob of sample 1 at token 2 is -inf although response_mask counts it, the first of 1: recompute that "
        "sample's log-probs, or mask the token out",
    ),
}

PROGRAM = """
import json, sys, torch
from torch import zeros
from frpo_verl.losses.coefficients import *
from frpo_verl.losses.future_policy import *
from frpo_verl.losses.outcome import *
from frpo_verl.losses.pairwise import *
from frpo_verl.losses.responses import *

policies = lambda: (zeros(4, 8), zeros(4, 8))
labels = lambda: zeros(4).long()
rows = lambda: zeros(3)
lengths = lambda: torch.tensor([3, 2, 1])
pairs = lambda *sides: Pairs(*map(torch.tensor, sides))

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
    command = [sys.executable, "-P", "-c", PROGRAM]
    done = subprocess.run(command, input=calls, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_says_what_the_value_and_the_fix(said, name):
    assert said[name] == CASES[name][1]
