"""Decides on answers: math-verify as it is published, then objections that can only take a reward away.

Objections are for what a policy could learn to give instead of the right answer, and for what is certainly another
value. There is no time limit here: `processes` sets it.
"""

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from frpo_verl.rewards.grading import values, wording


def accepts(gold: str, response: str, box: str | None = None) -> bool:
    r"""Asks math-verify, as verl's `reward_score.math_verify` does.

    Args:
        gold: the right answer, LaTeX.
        response: a whole response, or the box alone.
        box: what stands in the box, if objections count too.

    Returns:
        True if math-verify accepts the response, and nothing speaks against the box.
    """
    right = parse(rf"\boxed{{{gold}}}", (LatexExtractionConfig(),), parsing_timeout=None)
    given = parse(response, (ExprExtractionConfig(), LatexExtractionConfig()), parsing_timeout=None)
    if not verify(right, given, timeout_seconds=None):
        return False
    return (
        box is None or gold.strip() == box.strip() or not (wording.objects(gold, box) or values.objects(right, given))
    )
