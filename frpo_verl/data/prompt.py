"""The paper's prompt (arXiv 2601.10201, appendix: settings)."""

from frpo_verl.rewards.box import INSTRUCTION


def messages(problem: str) -> list[dict[str, str]]:
    """The chat that asks for the answer to a problem.

    Args:
        problem: its text.

    Returns:
        One message of the user.
    """
    return [{"role": "user", "content": f"{problem} {INSTRUCTION}"}]


def problem(chat: list[dict[str, str]]) -> str:
    """The text of the problem that a chat asks about; undoes `messages`.

    Args:
        chat: the messages.

    Returns:
        The problem's text.
    """
    return chat[-1]["content"].removesuffix(INSTRUCTION).rstrip()
