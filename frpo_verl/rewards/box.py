r"""Finds the answer of a response in the paper's format: the text of the last `\boxed{}`."""

import re

INSTRUCTION = r"Let's think step by step and output the final answer within \boxed{}."
"""The paper's words (arXiv 2601.10201, appendix: settings), which ask for an answer that `last_box` finds."""

LONGEST = 500
"""Characters of a box that is still an answer to a problem; the longest gold answer of MATH500 has 53."""

LONGEST_OF_A_TASK = 20_000
"""The same for reasoning-gym: some of its tasks ask for a board or for thousands of moves."""

_COMMAND = r"\boxed"
_OPENING = re.compile(r"\\boxed\s*\{")
# A backslash takes the next character with it: \{ and \} are printed braces and do not group.
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def last_box(text: str, longest: int = LONGEST) -> str | None:
    r"""Finds the answer of a response.

    Args:
        text: the response.
        longest: characters of a box that is still an answer.

    Returns:
        The text between the braces of the last `\boxed{`, or None if there is none or it is not closed within `longest`
        characters: a response that was cut off has no answer, whatever it boxed before. `\fbox{}` and
        `\boxed 5` are not the paper's format.
    """
    at = len(text)
    while (at := text.rfind(_COMMAND, 0, at)) >= 0:
        if opening := _OPENING.match(text, at):
            return _until_closed(text, opening.end(), longest)
    return None


def _until_closed(text: str, start: int, longest: int) -> str | None:
    depth = 1
    for brace in _BRACE.finditer(text, start, start + longest + 1):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start : brace.start()]
    return None
