"""Slow oracles for λ-GRPO (arXiv 2509.21154), written from the definitions: sequences of tokens, no package code.

A response is a tuple of tokens. A position of a group's tree is (prefix, token); `None` stands where a response ends.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from oracles import VOCABULARY, Response, TinyPolicy, unfinished_prefixes
from torch import Tensor

FIGURE = [(7, 1), (7, 2), (8, 5, 1), (8, 6, 1), (8, 6, 2), (9,)]
FIGURE_REWARDS = [0.5, 0.5, 1.0, 0.0, 0.0, 0.5]
"""The paper's figure: steps {1, 2}, {3, 4, 5}, {4, 5} in it, and {6}; the tokens are ours."""


def prefix_tree(responses: Sequence[Response]) -> dict:
    """The tree of all prefixes: a node is {"visits": responses that pass, "children": token -> node}."""
    root = {"visits": len(responses), "children": {}}
    for response in responses:
        node = root
        for token in (*response, None):
            node = node["children"].setdefault(token, {"visits": 0, "children": {}})
            node["visits"] += 1
    return root


def visits(tree: dict, response: Response) -> list[int]:
    """|λ(i,t)| for every token of one response of the tree: its visitors, met on the way down."""
    found, node = [], tree
    for token in response:
        node = node["children"][token]
        found.append(node["visits"])
    return found


def set_sizes(responses: Sequence[Response], groups: Sequence[Hashable]) -> list[list[int]]:
    """|λ(i,t)| of a batch, each group with a tree of its own."""
    members: dict[Hashable, list[Response]] = {}
    for response, group in zip(responses, groups, strict=True):
        members.setdefault(group, []).append(response)
    trees = {group: prefix_tree(of_group) for group, of_group in members.items()}
    return [visits(trees[group], response) for response, group in zip(responses, groups, strict=True)]


def distinct_tokens(tree: dict) -> int:
    """Counts the tree's tokens, each once; ends are not tokens."""
    return sum(1 + distinct_tokens(child) for token, child in tree["children"].items() if token is not None)


def released_rule(responses: Sequence[Response]) -> list[list[int]]:
    """|λ(i,t)| of one group as the authors' code (github coli-saar/grpo-prm, 6bc58b1) finds it, in own words.

    Process sets are the maximal sets of responses that share a prefix. Such a set stands for a step, the tokens that
    all of it share beyond what the next larger set around it shares. λ(i,t) is the set of i whose step holds token t.
    Sets hold responses by number, so that equal responses count as often as they are there.
    """
    longest = max(map(len, responses), default=0)
    # A response shorter than n shares no prefix of n tokens with anything, itself included.
    sharing = {
        frozenset(j for j, other in enumerate(responses) if len(other) >= n and other[:n] == response[:n])
        for response in responses
        for n in range(1, longest + 1)
        if len(response) >= n
    }
    rows = []
    for i, response in enumerate(responses):
        own = sorted((members for members in sharing if i in members), key=len, reverse=True)
        row: list[int] = []
        for members in own:
            row += [len(members)] * (_common_length([responses[j] for j in members]) - len(row))
        assert len(row) == len(response)
        rows.append(row)
    return rows


def _common_length(responses: list[Response]) -> int:
    """Counts the tokens that all of them share from the start."""
    length = 0
    for tokens in zip(*responses, strict=False):
        if len(set(tokens)) > 1:
            break
        length += 1
    return length


def expected_divided_update(policy: TinyPolicy, of_token: Callable[[Response], Tensor], group_size: int) -> Tensor:
    """Σ_v (1 − (1 − p_v)^k) E[R | v] ∇log π(v) over the tree's tokens v, shaped like the logits; differentiable.

    That is the expectation of Σ_i Σ_t R_{i,t} / |λ(i,t)| ∇log π over groups of k: token v is visited with probability
    1 − (1 − p_v)^k, and then the visitors' mean of R has the expectation E[R | v], whatever their number. R_{i,t} is
    the sum of `of_token` over the tokens from t on; it sees the prefix that ends in its token. With k = 1 this is the
    gradient of the expected sum, where E ∂of_token = 0.
    """
    prefixes = unfinished_prefixes(policy.max_length)
    row_of = {prefix: row for row, prefix in enumerate(prefixes)}
    pi = torch.softmax(policy.logits, -1)

    def expected(prefix: Response) -> Tensor:
        later = row_of.get(prefix)
        if later is None:
            return of_token(prefix)
        return of_token(prefix) + sum(pi[later, token] * expected((*prefix, token)) for token in VOCABULARY)

    rows = []
    for row, prefix in enumerate(prefixes):
        reached = torch.ones((), dtype=pi.dtype)
        for t, token in enumerate(prefix):
            reached = reached * pi[row_of[prefix[:t]], token]
        # d log π(v) / d logit_a = 1[v = a] − π(a)
        score = torch.eye(len(VOCABULARY), dtype=pi.dtype) - pi[row]
        visited = 1 - (1 - reached * pi[row]) ** group_size
        rows.append(sum(visited[token] * expected((*prefix, token)) * score[token] for token in VOCABULARY))
    return torch.stack(rows)


def log_ratio_of_token(policy: TinyPolicy, reference: TinyPolicy) -> Callable[[Response], Tensor]:
    """log π − log π_ref of the last token of a prefix, whose return-to-go is reg."""
    return lambda prefix: (policy.log_probs(prefix) - reference.log_probs(prefix))[-1]
