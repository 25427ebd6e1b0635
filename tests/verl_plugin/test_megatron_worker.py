"""Checks that real Megatron workers compute the same FRPO as FSDP2's, for every layout."""

import collections
import functools
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("verl")
pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

PADDED = ["actor_rollout_ref.model.use_remove_padding=False"]
MICRO_BATCHES_OF_FOUR = ["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4"]
DYNAMIC = ["actor_rollout_ref.actor.use_dynamic_bsz=True", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=24"]
WAYS = {
    "packed": ("current", []),
    "padded": ("rollout", PADDED),
    "micro-batches of four": ("current", MICRO_BATCHES_OF_FOUR),
    "dynamic": ("rollout", DYNAMIC),
}
# Four updates, so that ratios are not 1, and a policy loss of verl's that is not the usual one.
SEVERAL_UPDATES = {
    "how": "current",
    "overrides": ["actor_rollout_ref.actor.policy_loss.loss_mode=gspo"],
    "mini_batch": 4,
    "epochs": 2,
}
MEGATRON = "actor_rollout_ref.actor.megatron."
RESHARDABLE = f"{MEGATRON}dist_ckpt_optim_fully_reshardable=True"
LAYOUTS = {
    "one rank": (1, []),
    "TP=2": (2, [f"{MEGATRON}tensor_model_parallel_size=2"]),
    "PP=2": (2, [f"{MEGATRON}pipeline_model_parallel_size=2"]),
    "DP=2": (2, []),
    "CP=2": (2, [f"{MEGATRON}context_parallel_size=2"]),
    "TP=2 PP=2": (4, [f"{MEGATRON}tensor_model_parallel_size=2", f"{MEGATRON}pipeline_model_parallel_size=2"]),
}
EVERYDAY = {
    "one rank": tuple(WAYS),
    "TP=2": ("packed", "dynamic"),
    "PP=2": ("packed", "micro-batches of four"),
    "DP=2": ("packed", "padded"),
    "CP=2": ("packed",),
    "TP=2 PP=2": (),
}
"""The others are on a schedule: four ranks on two cores take as long as all of these together."""


def scheduled(layout: str, way: str) -> bool:
    return way not in EVERYDAY[layout]


def marked(layout: str, way: str, *more: str) -> object:
    return pytest.param(layout, *more, marks=pytest.mark.thorough if scheduled(layout, way) else ())


OF_SEVERAL_UPDATES = ("one rank", "TP=2")
OF_MIXTURES = {
    "one rank": LAYOUTS["one rank"],
    "EP=2": (2, [f"{MEGATRON}expert_model_parallel_size=2"]),
    "TP=2": LAYOUTS["TP=2"],
    "CP=2": LAYOUTS["CP=2"],
}


def cases(models: dict[str, Path], checkpoints: Path) -> dict[tuple[int, bool], dict[str, dict]]:
    """Returns every case by its name, in groups that run together: of so many ranks, every day or on a schedule.

    One that resumes comes after the one that saves.
    """
    found = collections.defaultdict(dict)

    def case(ranks: int, name: str, model: str, overrides: list[str], saves: bool = False, **how) -> None:
        group = ranks, how.pop("scheduled", False)
        engine = how.pop("engine", "megatron")
        folder = {"checkpoint": str(checkpoints / name)} if saves else {}
        found[group][name] = {"model": str(models[model]), "engine": engine, "overrides": overrides, **how, **folder}

    # What FSDP2 computes, which the tests of its worker hold against definitions.
    for model, how in (("qwen2", "current"), ("qwen2", "rollout"), ("qwen3 moe", "current")):
        case(1, f"fsdp2 {model} {how}", model, [], engine="fsdp2", how=how)
    case(1, "fsdp2 several updates", "qwen2", engine="fsdp2", **SEVERAL_UPDATES)
    for layout, (ranks, overrides) in LAYOUTS.items():
        for way, (how, further) in WAYS.items():
            # The first saves a checkpoint that any layout could load.
            saves = way == "packed"
            changes = [*overrides, *further, *([RESHARDABLE] if saves else [])]
            case(ranks, f"{layout} {way}", "qwen2", changes, saves, how=how, scheduled=scheduled(layout, way))
    for layout in OF_SEVERAL_UPDATES:
        ranks, overrides = LAYOUTS[layout]
        changes = [*SEVERAL_UPDATES["overrides"], *overrides]
        case(ranks, f"{layout} several updates", "qwen2", **{**SEVERAL_UPDATES, "overrides": changes})
    case(2, "bfloat16", "qwen2", [*LAYOUTS["TP=2"][1], f"{MEGATRON}dtype=bfloat16"], True, how="current")
    # random states are those of a layout
    without_random_states = "actor_rollout_ref.actor.checkpoint.load_contents=[model,optimizer]"
    resumes = [RESHARDABLE, *LAYOUTS["PP=2"][1], without_random_states]
    case(2, "resumed as PP=2", "qwen2", resumes, how="current", resume=str(checkpoints / "DP=2 packed"))
    for layout, (ranks, overrides) in OF_MIXTURES.items():
        case(ranks, f"mixture {layout}", "qwen3 moe", overrides, True, how="current")
    return found


@pytest.fixture(scope="module")
def found(models, ranks_of, tmp_path_factory) -> Callable[[str], dict]:
    """Returns what a case computed, by its name; all of its group run when the first of them is asked for."""
    every = cases(models, tmp_path_factory.mktemp("checkpoints"))

    @functools.cache
    def of(group: tuple[int, bool]) -> dict[str, dict]:
        for case in every[group].values():
            if "checkpoint" in case:
                Path(case["checkpoint"]).mkdir()
        return ranks_of(group[0], every[group], tmp_path_factory.mktemp("ranks"))

    return lambda name: next(of(group)[name] for group, named in every.items() if name in named)


def assert_same(ours: dict, expected: dict) -> None:
    """Compares to the last digits of float32, in which both ran; sums are taken in another order."""
    for row, other, mask in zip(ours["log_probs"], expected["log_probs"], expected["mask"], strict=True):
        kept = [(a, b) for a, b, m in zip(row, other, mask, strict=True) if m]
        assert [a for a, _ in kept] == pytest.approx([b for _, b in kept], abs=3e-6)
    assert ours["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
    reduced = expected["figures"]["reduced"]
    assert len(reduced) > 3
    for name, value in reduced.items():
        assert ours["figures"]["reduced"][name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert ours["weights"].keys() == expected["weights"].keys()
    for name, weight in expected["weights"].items():
        # Adam's first step is the learning rate (1e-3) times the gradient's sign, whose zeros are noise
        assert ours["weights"][name] == pytest.approx(weight, abs=1e-4), name


def assert_resumed(ours: dict) -> None:
    """Compares to the bit: the same code on the same numbers."""
    assert ours["second, resumed"] == ours["second"]
    assert ours["second"]["weights"] != ours["weights"]


@pytest.mark.parametrize(("layout", "way"), [marked(layout, way, way) for layout in LAYOUTS for way in WAYS])
def test_a_layout_computes_what_fsdp2_does(found, layout, way):
    assert_same(found(f"{layout} {way}"), found(f"fsdp2 qwen2 {WAYS[way][0]}"))


@pytest.mark.parametrize("layout", [marked(layout, "packed") for layout in LAYOUTS])
def test_a_layout_resumes_to_the_bit(found, layout):
    assert_resumed(found(f"{layout} packed"))


@pytest.mark.parametrize("layout", OF_SEVERAL_UPDATES)
def test_several_updates_by_another_policy_loss_are_the_same(found, layout):
    ours, expected = found(f"{layout} several updates"), found("fsdp2 several updates")
    for name, value in expected["figures"]["reduced"].items():
        assert ours["figures"]["reduced"][name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    for name, weight in expected["weights"].items():
        # four steps of 1e-3, each with the noise of one
        assert ours["weights"][name] == pytest.approx(weight, abs=4e-4), name
    assert expected["weights"] != found("fsdp2 qwen2 current")["weights"]


def test_bfloat16_is_near_and_resumes_to_the_bit(found):
    ours, expected = found("bfloat16"), found("fsdp2 qwen2 current")
    for row, other, mask in zip(ours["log_probs"], expected["log_probs"], expected["mask"], strict=True):
        kept = [(a, b) for a, b, m in zip(row, other, mask, strict=True) if m]
        # eight bits of mantissa through four layers
        assert [a for a, _ in kept] == pytest.approx([b for _, b in kept], abs=0.1)
    assert ours["grad_norm"] == pytest.approx(expected["grad_norm"], rel=0.1)
    assert_resumed(ours)


def test_a_checkpoint_is_resumed_in_another_layout(found):
    resumed, saved = found("resumed as PP=2"), found("DP=2 packed")
    assert resumed["grad_norm"] == pytest.approx(saved["second"]["grad_norm"], rel=1e-5)
    for name, weight in saved["second"]["weights"].items():
        # Adam divides by the root of the moments, which magnifies the last digits of gradients near 0
        assert resumed["weights"][name] == pytest.approx(weight, abs=1e-4), name


@pytest.mark.parametrize("layout", OF_MIXTURES)
def test_a_mixture_of_experts_computes_what_fsdp2_does(found, layout):
    ours = found(f"mixture {layout}")
    assert_same(ours, found("fsdp2 qwen3 moe current"))
    assert_resumed(ours)
