"""Makes a run of one seed the same whenever it runs: each response has a seed of its own, and each batch one order.

Otherwise vLLM draws from one generator for all, in the order in which requests arrive, and verl cuts mini-batches of
responses in the order in which they are done.
"""

import hashlib
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


def seed_of(*facts: Any) -> int:
    """Makes a number of 63 bits of whatever tells one response from all others."""
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:8], "big") >> 1


class SeededLoop(SingleTurnAgentLoop):
    """verl's loop of one turn, seeded by the run, the step, the problem and the number of the sample."""

    async def run(self, sampling_params: dict[str, Any], **asked: Any) -> AgentLoopOutput:
        """Samples one response."""
        part, index = asked["extra_info"]["part"], int(asked["index"])
        facts = (self.rollout_config.seed, int(asked["global_steps"]), part, index, int(asked["session_id"]))
        return await super().run({**sampling_params, "seed": seed_of(*facts)}, **asked)


class OrderedBuffer(ReplayBuffer):
    """verl's buffer, whose batches have the responses in the order of the prompts."""

    def _materialize_batch(self, partition_id: str, *rest: Any) -> Any:
        batch = super()._materialize_batch(partition_id, *rest)
        batch.keys, batch.tags = self.in_order(partition_id, batch.keys, batch.tags)
        return batch

    def in_order(self, partition_id: str, keys: list[str], tags: list[dict]) -> tuple[list[str], list[dict]]:
        """Sorts keys, {prompt}_{response}_{output}, and their tags; verl knows prompts in the order of the data."""
        place = {uid: place for place, uid in enumerate(self.prompt_global_steps[partition_id])}

        def of(pair: tuple[str, dict]) -> tuple[int, int]:
            uid, response, _ = pair[0].rsplit("_", 2)
            return place[uid], int(response)

        ordered = sorted(zip(keys, tags, strict=True), key=of)
        return [key for key, _ in ordered], [tag for _, tag in ordered]
