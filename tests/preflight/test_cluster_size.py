"""Nodes and GPUs of a cluster, for recipes that run on one."""

import pytest

from frpo_verl.preflight.cluster_size import chosen, main, patiently
from frpo_verl.preflight.errors import HostError


@pytest.mark.parametrize(
    ("accelerators", "nodes", "per_node", "expected"),
    [
        ([8, 8, 0], None, None, (2, 8)),
        ([8, 4], None, None, (2, 4)),
        ([8, 4], 1, None, (1, 8)),
        ([8, 4, 4], None, 8, (1, 8)),
        ([8, 8, 8, 8], 2, 4, (2, 4)),
    ],
)
def test_what_is_not_asked_for_is_what_is_there(accelerators, nodes, per_node, expected):
    assert chosen(accelerators, nodes, per_node) == expected


@pytest.mark.parametrize(
    ("accelerators", "nodes", "per_node", "sentence"),
    [
        ([], None, None, "the Ray cluster has no GPU"),
        ([0, 0], 1, None, "the Ray cluster has no GPU"),
        ([8, 8], 4, None, "NNODES=4, NGPUS_PER_NODE=not set: the Ray cluster has nodes with 8, 8 GPUs; set them"),
        ([8, 4], 2, 8, "NNODES=2, NGPUS_PER_NODE=8: the Ray cluster has nodes with 8, 4 GPUs"),
        ([4], None, 8, "NNODES=1, NGPUS_PER_NODE=8: the Ray cluster has nodes with 4 GPUs"),
    ],
)
def test_too_few_are_one_sentence(accelerators, nodes, per_node, sentence):
    with pytest.raises(HostError, match=sentence):
        chosen(accelerators, nodes, per_node)


def test_nodes_that_are_wanted_are_waited_for():
    joining = iter([[], [4], [4, 4]])
    assert patiently(lambda: chosen(next(joining), 2, None), seconds=30) == (2, 4)


def test_not_for_ever():
    looks = iter([[4, 4], [4, 4, 4]])
    with pytest.raises(HostError, match="NNODES=3"):
        patiently(lambda: chosen(next(looks), 3, None), seconds=0)


@pytest.mark.parametrize("number", ["0", "two", "-1"])
def test_a_number_that_is_none(number):
    with pytest.raises(HostError, match=f"NNODES={number}: not a positive whole number"):
        main(["auto", number, ""])


@pytest.mark.verl
def test_an_address_where_nothing_answers():
    with pytest.raises(HostError, match="RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers there"):
        main(["127.0.0.1:1", "", ""])
