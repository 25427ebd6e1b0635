"""`frpo-verl offline-data`."""

import argparse
import sys

from frpo_verl.offline import request

EPILOG = """\
for instance
  frpo-verl offline-data graded.parquet --model Qwen/Qwen3-1.7B --prompts train.parquet --n 16 --reward reward.py
  frpo-verl offline-data graded.parquet --responses mine.jsonl
  frpo-verl offline-data graded.parquet --rollouts runs/x/rollouts --model Qwen/Qwen3-1.7B --prompts train.parquet

What was stopped goes on when the same command runs again. On several GPUs each has a vLLM of its own.

exit status: 0 when the file is there, 1 with problems, 2 for a command line that cannot be read
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "offline-data",
        help="make a file of graded responses for the offline trainer",
        description="Makes a parquet file of graded responses, one row for each prompt: samples a model by vLLM, or "
        "takes responses that are there.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT.parquet", help="the file to make; it is whole or not there")
    _of_model(parser.add_argument_group("sampling a model"))
    others = parser.add_argument_group("responses that are there")
    others.add_argument(
        "--responses",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="graded ones, parquet or JSON lines: prompt, responses, scores in a row for each prompt, or prompt, "
        "response, score in a row for each response",
    )
    others.add_argument(
        "--rollouts",
        metavar="DIR",
        help="verl's trainer.rollout_data_dir; --model and --prompts are those of that run",
    )
    others.add_argument("--steps", metavar="A:B", help="of --rollouts: from step A to step B; either may be left out")
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--no-signal",
        choices=("keep", "drop"),
        default="keep",
        help="prompts whose responses all have one score: pairs and standardised advantages cannot use them "
        "(default: %(default)s)",
    )
    rules.add_argument(
        "--duplicates",
        choices=("keep", "drop"),
        default="drop",
        help="identical responses to a prompt: drop keeps the first (default: %(default)s)",
    )


def _of_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", metavar="MODEL", help="folder or name of a Hugging Face model")
    add_sampling(group)


def add_sampling(group: argparse._ArgumentGroup) -> None:
    """Adds what is to be sampled, how, and who grades."""
    default = request.SAMPLING
    group.add_argument("--prompts", metavar="FILE", help="parquet with prompt, data_source, reward_model, as verl's")
    group.add_argument(
        "--reward",
        metavar="FILE.py[:NAME]",
        help="grades, in verl's form; also pkg://module (default: compute_score of FILE; verl's own by data_source)",
    )
    numbers = {
        "n": "responses to each prompt",
        "temperature": "of sampling",
        "top_p": "of sampling",
        "max_tokens": "the longest response; of --rollouts: responses of so many tokens were cut",
        "max_prompt_tokens": "the longest prompt; longer ones are refused",
        "seed": "of sampling",
    }
    for name, meaning in numbers.items():
        kind = type(default[name])
        letter = "N" if kind is int else "X"
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, type=kind, metavar=letter, help=f"{meaning} (default: {default[name]})")
    for name, meaning in (
        ("template", "arguments of the chat template, as enable_thinking=false"),
        ("vllm", "arguments of vLLM's engine, as tensor_parallel_size=2"),
    ):
        group.add_argument(f"--{name}", metavar="KEY=VALUE", nargs="+", action="extend", help=meaning)


def run(options: argparse.Namespace) -> int:
    """Makes the file and returns the exit status."""
    from frpo_verl.offline import making
    from frpo_verl.offline.errors import OfflineError

    if problems := list(request.problems(options)):
        return _refused(problems)
    try:
        made = making.make(request.of(options))
    except making.Unfit as error:
        return _refused(error.problems)
    except (OfflineError, OSError) as error:
        # of a file: [Errno 28] No space left on device: 'samples/x.writing'
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("frpo-verl: interrupted; run the same command again, which goes on", file=sys.stderr)
        return 130
    for remark in made.remarks:
        print(f"frpo-verl: {remark}", file=sys.stderr)
    print(_text(options.out, made))
    return 0


def _refused(problems: list[str]) -> int:
    from frpo_verl.preflight.sentences import as_text

    print(f"frpo-verl: {as_text([], problems)}", file=sys.stderr)
    return 1


def _text(out: str, made: "making.Made") -> str:  # noqa: F821
    of = made.counts
    lines = [f"{out}: {of['responses']} responses to {of['prompts']} prompts" + ", was there already" * made.reused]
    differ = of["duplicates_with_another_score"]
    lines.append(f"  of {of['read']} responses, {of['duplicates']} repeat an earlier one, {differ} with another score")
    dropped = f", {of['dropped_prompts']} of them dropped" if of.get("dropped_prompts") else ""
    sides = f"{of['all_right']} all right, {of['all_wrong']} all wrong"
    lines.append(f"  prompts: {sides}; {of['no_signal']} with one score{dropped}")
    if of.get("merged_prompts"):
        lines.append(f"  {of['merged_prompts']} rows repeated an earlier prompt and are merged")
    return "\n".join(lines)
