"""Measures on a model's own rollouts what a baseline of the whole weight does to the variance of FRPO's gradient.

    python tests/benchmarks/baseline_gradients.py measure MODEL REFERENCE --out FILE
    python tests/benchmarks/baseline_gradients.py table FILE …
    python tests/benchmarks/baseline_gradients.py worker MODEL

`measure` samples groups of responses to the quickstart's problems and takes ∇log π of every token once, by parameters
of one decoder layer. MODEL is what `frpo-verl eval` samples: a folder, or a checkpoint of verl's. `table` makes many
batches of the groups and prints the tables of `frpo_verl/advantage/variance.md`. The gradient of verl's loss
(`token-mean`) at the first update after a rollout is

    Σ_{i,t} advantage_{i,t} ∇log π_{i,t} / tokens

so that the tokens' inner products give the variance of every batch, β and baseline. `worker` compares that sum with
what an update of verl's own FSDP2 worker does to the same parameters.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig

from frpo_verl.advantage import (
    Fit,
    at_position,
    fitted_elsewhere,
    frpo_advantage,
    no_moments,
    normalise_by_group,
    subtract_baseline,
)
from frpo_verl.advantage.baseline import DECAY
from frpo_verl.quickstart import reward, task

LENGTH, GROUP, AT_ONCE, PROMPTS = 16, 8, 16, 64
"""Tokens of a response, the quickstart's, and responses of a group; prompts that are sampled at the same time."""

COORDINATES = 2**15
"""Parameters of the layer that are looked at, drawn at random."""

BATCHES, RESAMPLED = 300, 1000
SIZES, BETAS = (8, 16, 32), (0.01, 0.1, 1.0)


class Rollouts(NamedTuple):
    """Groups of responses to prompts, one after the other, and their tokens' gradients.

    Attributes:
        reward: (groups * GROUP,).
        log_ratio: (groups * GROUP, LENGTH), δ, 0 after the end.
        mask: the same shape, True for tokens.
        products: (tokens, tokens), inner products of ∇log π, tokens in the order of the mask.
    """

    reward: Tensor
    log_ratio: Tensor
    mask: Tensor
    products: Tensor

    @property
    def group(self) -> Tensor:
        """The prompt of each response."""
        return torch.arange(len(self.reward)) // GROUP

    @property
    def token_group(self) -> Tensor:
        """The prompt of each token."""
        return self.group[:, None].expand(self.mask.shape)[self.mask]


# ---- Rollouts ----


class Response(NamedTuple):
    """Token ids of a prompt and of what the model said, its end token included; and the reward."""

    prompt: list[int]
    tokens: list[int]
    reward: float


def sampled(model: Any, tokenizer: Any, problems: Sequence[task.Problem], group: int = GROUP) -> list[Response]:
    """Samples groups of responses at temperature 1."""
    tokenizer.padding_side = "left"
    found = []
    for begin in range(0, len(problems), AT_ONCE):
        some = problems[begin : begin + AT_ONCE]
        chats = [
            tokenizer.apply_chat_template(task.messages(problem), add_generation_prompt=True, tokenize=False)
            for problem in some
        ]
        read = tokenizer(chats, return_tensors="pt", padding=True, add_special_tokens=False)
        ids, there = read["input_ids"], read["attention_mask"].bool()
        said = model.generate(
            input_ids=ids,
            attention_mask=read["attention_mask"],
            generation_config=GenerationConfig(
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=LENGTH,
                num_return_sequences=group,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            ),
        )[:, ids.shape[1] :].tolist()
        for place, tokens in enumerate(said):
            problem = some[place // group]
            if tokenizer.eos_token_id in tokens:
                tokens = tokens[: tokens.index(tokenizer.eos_token_id) + 1]
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            score = reward.compute_score(task.NUMBER.data_source, text, problem.answer, problem._asdict())
            found.append(Response(ids[place // group][there[place // group]].tolist(), tokens, score))
    return found


def log_probs(model: Any, response: Response) -> Tensor:
    """The model's log-probs of a response's tokens."""
    return _log_probs(model, _hidden(model, response), response)


def _hidden(model: Any, response: Response) -> Tensor:
    """Computes the input of the output layer before each token of the response."""
    ids = torch.tensor([response.prompt + response.tokens])
    return model.model(input_ids=ids, use_cache=False).last_hidden_state[0, len(response.prompt) - 1 : -1]


def _log_probs(model: Any, hidden: Tensor, response: Response) -> Tensor:
    return model.lm_head(hidden).log_softmax(-1).gather(1, torch.tensor(response.tokens)[:, None])[:, 0]


def scores(
    model: Any, response: Response, parameters: Sequence[Tensor], kept: Tensor | slice = slice(None)
) -> tuple[Tensor, Tensor]:
    """The log-probs and (tokens, coordinates), ∇log π of each token by the kept ones of all parameters."""
    hidden = _hidden(model, response)
    # The product with the vocabulary is done once: a token's log-prob reads the hidden state of its own place alone.
    leaf = hidden.detach().requires_grad_()
    log_prob = _log_probs(model, leaf, response)
    slopes = torch.autograd.grad(log_prob.sum(), leaf)[0]
    rows = []
    for place, slope in enumerate(slopes):
        found = torch.autograd.grad(hidden[place], parameters, slope, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in found])[kept])
    return log_prob.detach(), torch.stack(rows)


def padded(rows: Sequence[Tensor]) -> Tensor:
    """(responses, LENGTH), float64, 0 after the end."""
    result = torch.zeros(len(rows), LENGTH, dtype=torch.float64)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def measured(policy: Any, reference: Any, responses: Sequence[Response], layer: int) -> Rollouts:
    """Takes the gradient of every token by parameters of a decoder layer, and δ to the reference."""
    parameters = only(policy, layer)
    size = sum(parameter.numel() for parameter in parameters)
    kept = torch.randperm(size, generator=torch.Generator().manual_seed(0))[:COORDINATES].sort().values
    ratios, gradients = [], []
    for response in responses:
        log_prob, rows = scores(policy, response, parameters, kept)
        gradients.append(rows)
        with torch.no_grad():
            ratios.append((log_prob - log_probs(reference, response)).double())
    every = torch.cat(gradients)
    lengths = torch.tensor([len(response.tokens) for response in responses])
    return Rollouts(
        torch.tensor([response.reward for response in responses], dtype=torch.float64),
        padded(ratios),
        torch.arange(LENGTH) < lengths[:, None],
        every @ every.T,
    )


def only(model: Any, layer: int) -> list[Tensor]:
    """The parameters of a decoder layer, after which alone a graph is built."""
    model.requires_grad_(False)
    chosen = model.model.layers[layer].requires_grad_(True)
    return list(chosen.parameters())


# ---- Batches ----


def plain(of: Rollouts, rows: Tensor, beta: float, others: Tensor) -> tuple[Tensor, float]:
    advantages = frpo_advantage(of.reward[rows], of.group[rows], of.log_ratio[rows], of.mask[rows], beta)
    return advantages, 0.0


def less(of: Rollouts, rows: Tensor, beta: float, coefficients: Callable[[Tensor], Tensor]) -> tuple[Tensor, Fit]:
    group = of.group[rows]
    outcome = normalise_by_group(of.reward[rows], group)
    return subtract_baseline(outcome, of.log_ratio[rows], of.mask[rows], beta, group, coefficients)


def at_place(of: Rollouts, rows: Tensor, beta: float, others: Tensor) -> tuple[Tensor, float]:
    advantages, fit = less(of, rows, beta, at_position(beta))
    return advantages, fit.r2


def fitted(of: Rollouts, rows: Tensor, beta: float, others: Tensor) -> tuple[Tensor, float]:
    advantages, fit = less(of, rows, beta, fitted_elsewhere(no_moments()))
    return advantages, fit.r2


def with_memory(of: Rollouts, rows: Tensor, beta: float, others: Tensor) -> tuple[Tensor, float]:
    """With the memory of many earlier batches of this size, of the same policy and other prompts."""
    advantages, fit = less(of, rows, beta, fitted_elsewhere(DECAY / (1 - DECAY) * (len(rows) / GROUP) * others))
    return advantages, fit.r2


WAYS = {"none": plain, "loo_position": at_place, "fitted": fitted, "fitted, memory": with_memory}


def rows_of(groups: Tensor) -> Tensor:
    """The responses of some groups."""
    return (groups[:, None] * GROUP + torch.arange(GROUP)).flatten()


class Gradients(NamedTuple):
    """Gradients of batches as sums over tokens: (batches, tokens); and the median out-of-fold R²."""

    factors: Tensor
    r2: float


def gradients(of: Rollouts, batches: Tensor, beta: float) -> dict[str, Gradients]:
    """Every batch's gradient in every way."""
    prompts, tokens = of.group[-1].item() + 1, len(of.products)
    alone = torch.stack(
        [
            less(of, rows_of(group[None]), beta, fitted_elsewhere(no_moments()))[1].moments
            for group in torch.arange(prompts)
        ]
    )
    number = torch.full(of.mask.shape, -1)
    number[of.mask] = torch.arange(tokens)
    result = {}
    for name, way in WAYS.items():
        factors, shares = torch.zeros(len(batches), tokens, dtype=torch.float64), []
        for factor, groups in zip(factors, batches, strict=True):
            rows, mask = rows_of(groups), of.mask[rows_of(groups)]
            elsewhere = torch.ones(prompts, dtype=torch.bool).index_fill_(0, groups, False)
            advantages, share = way(of, rows, beta, alone[elsewhere].mean(0))
            factor[number[rows][mask]] = advantages[mask] / mask.sum()
            shares.append(share)
        result[name] = Gradients(factors, statistics.median(shares))
    return result


def by_group(of: Rollouts, values: Tensor) -> Tensor:
    """Sums over the tokens of each group."""
    return torch.zeros(len(of.reward) // GROUP, dtype=torch.float64).index_add_(0, of.token_group, values)


def variance(of: Rollouts, factors: Tensor) -> Tensor:
    """(groups,), each group's share of Σ_b ‖g_b − ḡ‖² / (batches − 1)."""
    apart = factors - factors.mean(0)
    return by_group(of, (apart * (apart @ of.products)).sum(0) / (len(apart) - 1))


def ratio(numerator: Tensor, denominator: Tensor) -> tuple[float, float, float]:
    """The ratio of the sums, and its 95 % interval: percentiles over resampled groups."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(numerator), (RESAMPLED, len(numerator)), generator=generator)
    ratios = numerator[chosen].sum(1) / denominator[chosen].sum(1)
    low, high = ratios.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return (numerator.sum() / denominator.sum()).item(), low, high


def moved(of: Rollouts, difference: Tensor) -> float:
    """Measures the move of the mean gradient in standard errors over the prompts: about 1 where it stays.

    Each group's mean difference d over the batches that hold it: ‖Σ d‖ / √(Σ ‖d‖²), whose square is 1 in the mean where
    the d are independent of mean 0.
    """
    there = (by_group_of_batches(of, difference.abs()) > 0).sum(0).clamp(min=1)
    mean = difference.sum(0) / there[of.token_group]
    product = mean * (of.products @ mean)
    alone = torch.stack([_square(of, mean, group) for group in range(len(there))]).sum()
    return (product.sum() / alone).clamp(min=0).sqrt().item() if alone > 0 else 0.0


def by_group_of_batches(of: Rollouts, values: Tensor) -> Tensor:
    return torch.zeros(len(values), len(of.reward) // GROUP, dtype=torch.float64).index_add_(1, of.token_group, values)


def _square(of: Rollouts, mean: Tensor, group: int) -> Tensor:
    own = of.token_group == group
    return mean[own] @ of.products[own][:, own] @ mean[own]


def drawn(prompts: int, size: int, batches: int) -> Tensor:
    """(batches, size), prompts without replacement."""
    generator = torch.Generator().manual_seed(size)
    return torch.stack([torch.randperm(prompts, generator=generator)[:size] for _ in range(batches)])


# ---- Tables ----


def state_line(name: str, of: Rollouts) -> str:
    """Rewards and distance of one checkpoint."""
    whole, lengths = of.log_ratio.sum(-1), of.mask.sum(-1).double()
    by_prompt = of.reward.view(-1, GROUP)
    signal = (by_prompt.min(1).values < by_prompt.max(1).values).double().mean()
    figures = (of.reward.mean(), signal, lengths.mean(), of.log_ratio[of.mask].std(), whole.mean(), whole.std())
    return f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |"


STATE = "| step | mean reward | groups with unequal rewards | tokens | std of δ | divergence, nats | its std |"


HEAD = (
    "| step | β | `loo_position` | `fitted` | `fitted`, memory | the same: interval | R² | moved |",
    "| ---: | ---: | --- | --- | --- | --- | --- | --- |",
)
"""Variances relative to none, by the number of prompts; the last three are of `fitted` with a memory."""


def line(name: str, of: Rollouts, beta: float, batches: int = BATCHES) -> str:
    """Compares the ways at one β, of as many prompts as there are."""
    prompts = len(of.reward) // GROUP
    cells: dict[str, list[str]] = {way: [] for way in [*WAYS, "interval", "r2", "moved"] if way != "none"}
    for size in (size for size in SIZES if size < prompts):
        found = gradients(of, drawn(prompts, size, batches), beta)
        first = found.pop("none")
        base = variance(of, first.factors)
        for way, one in found.items():
            middle, low, high = ratio(variance(of, one.factors), base)
            cells[way].append(f"{middle:.2f}")
        cells["interval"].append(f"{low:.2f} to {high:.2f}")
        cells["r2"].append(f"{one.r2:.2f}")
        cells["moved"].append(f"{moved(of, one.factors - first.factors):.1f}")
    return f"| {name} | {beta:g} | {' | '.join(' / '.join(values) for values in cells.values())} |"


def read(file: str) -> Rollouts:
    """The rollouts of a file; sums over them are in float64."""
    found = Rollouts(**torch.load(file))
    return found._replace(products=found.products.double())


def table(files: Sequence[str]) -> None:
    """Prints both tables, in the order of the files."""
    kept = {Path(file).stem: read(file) for file in files}
    print(STATE, "| ---: " * 7 + "|", *(state_line(*item) for item in kept.items()), sep="\n", end="\n\n")
    print(*HEAD, sep="\n")
    for name, of in kept.items():
        for beta in BETAS:
            print(line(name, of, beta), flush=True)


# ---- Programs ----


def loaded(word: str, folder: Path) -> tuple[Any, Any]:
    """A model in float32, merged by verl's merger if it has to be, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from frpo_verl.eval import checkpoint, sources

    source = sources.recognise(word)
    if isinstance(source, str):
        sys.exit(source)
    path = checkpoint.model_of(source, folder)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
    return model, AutoTokenizer.from_pretrained(path)


def measure(options: argparse.Namespace) -> None:
    """Writes the rollouts of a model, and the inner products of their gradients."""
    torch.manual_seed(options.seed)
    model, tokenizer = loaded(options.model, options.out.parent)
    reference, _ = loaded(options.reference, options.out.parent)
    responses = sampled(model, tokenizer, task.split().train[: options.prompts])
    found = measured(model, reference, responses, options.layer)
    torch.save(found._asdict(), options.out)
    print(STATE, state_line(options.out.stem, found), sep="\n")


def in_worker(options: argparse.Namespace) -> None:
    """Prints how far the sum over tokens is from the update of verl's worker, of a batch of two groups."""
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", VERL_PLATFORM="cpu")
    os.environ.setdefault("MASTER_PORT", "29512")
    import verl  # noqa: F401 (loads the plugin)

    sys.path.append(str(Path(__file__).parents[1] / "verl_plugin"))
    import real_worker

    torch.manual_seed(options.seed)
    folder = Path(options.model)
    model, tokenizer = loaded(options.model, folder)
    group = real_worker.ROWS // 2
    responses = sampled(model, tokenizer, task.split().train[:2], group)
    parameters = only(model, options.layer)
    found = [scores(model, response, parameters)[1] for response in responses]
    # SGD with a rate of 1 moves each parameter by its gradient.
    sgd = ("optim.optimizer=SGD", "optim.lr=1", "optim.weight_decay=0", "optim.clip_grad=1e9")
    worker = real_worker.actor(folder, *(f"actor_rollout_ref.actor.{override}" for override in sgd))
    batch = as_verl_sends(responses, tokenizer.pad_token_id)
    mask = batch["response_mask"].bool()
    old = real_worker.log_probs(worker, batch)
    log_ratio = 0.5 * torch.randn_like(old)
    outcome, groups = torch.randn(len(mask)), torch.arange(len(mask)) // group
    advantages, _ = subtract_baseline(outcome, log_ratio, mask, 0.3, groups, fitted_elsewhere(no_moments()))
    ours = sum(row[own] @ of.to(row.dtype) for row, own, of in zip(advantages, mask, found, strict=True)) / mask.sum()
    before = of_layer(worker, options.layer)
    data = real_worker.sent(
        {**batch, "old_log_probs": old, "advantages": advantages},
        global_batch_size=len(mask),
        mini_batch_size=len(mask),
        epochs=1,
        seed=0,
        dataloader_kwargs={"shuffle": False},
        compute_loss=True,
    )
    worker.update_actor(data)
    theirs = of_layer(worker, options.layer) - before
    print(
        f"length {theirs.norm().item():.6g}, relative difference {((ours - theirs).norm() / theirs.norm()).item():.3g}"
    )


def of_layer(worker: Any, layer: int) -> Tensor:
    """A copy of the worker's parameters of a decoder layer."""
    layers = worker.actor.engine.module.model.layers
    return torch.cat([parameter.detach().full_tensor().flatten() for parameter in layers[layer].parameters()]).clone()


def as_verl_sends(responses: Sequence[Response], pad: int) -> dict[str, Tensor]:
    """Pads prompts on the left and responses on the right."""
    width = max(len(response.prompt) for response in responses)
    length = max(len(response.tokens) for response in responses)
    ids = torch.full((len(responses), width + length), pad)
    attended = torch.zeros_like(ids)
    for row, response in enumerate(responses):
        own = slice(width - len(response.prompt), width + len(response.tokens))
        ids[row, own] = torch.tensor(response.prompt + response.tokens)
        attended[row, own] = 1
    return {
        "input_ids": ids,
        "prompts": ids[:, :width],
        "responses": ids[:, width:],
        "attention_mask": attended,
        "position_ids": (attended.cumsum(-1) - 1).clamp(min=0),
        "response_mask": attended[:, width:].clone(),
    }


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, run in (("measure", measure), ("worker", in_worker)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("model")
        command.add_argument("--layer", type=int, default=-1, help="the decoder layer (default: the last)")
        command.add_argument("--seed", type=int, default=0, help="of the samples")
        if run is measure:
            command.add_argument("reference")
            command.add_argument("--prompts", type=int, default=PROMPTS, help="first problems of the quickstart's")
            command.add_argument("--out", type=Path, required=True, help="its name is that of the row")
    command = commands.add_parser("table")
    command.set_defaults(run=lambda options: table(options.files))
    command.add_argument("files", nargs="+")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
