"""What a training engine of verl keeps on a GPU, and when."""

from typing import NamedTuple


class Engine(NamedTuple):
    """Bytes on the GPU that has most.

    Attributes:
        weights: of the model, as they are kept.
        gradients: of what is trained.
        states: of the optimizer, with float32 copies of the weights where it has its own.
        gathered: weights put together for computing, beside `weights`.
        reduced: a unit's gradients before they are spread over the ranks.
        step: what the optimizer's step makes and frees.
        update: activations of a training micro-batch, without logits.
        forward: activations of a micro-batch without gradients, without logits.
        logits_update: of a training micro-batch.
        logits_forward: of a micro-batch without gradients.
        keeps_weights: whether the weights stay between the engine's turns (`param_offload=False`).
        keeps_gradients: whether the gradients do.
        keeps_states: whether the optimizer's states do (`optimizer_offload=False`).
    """

    weights: float
    gradients: float
    states: float
    gathered: float
    reduced: float
    step: float
    update: float
    forward: float
    logits_update: float
    logits_forward: float
    keeps_weights: bool
    keeps_gradients: bool
    keeps_states: bool

    def between(self) -> dict[str, float]:
        """What stays on the GPU between the engine's turns.

        Returns:
            Bytes by component.
        """
        return {
            "weights": self.weights * self.keeps_weights,
            "gradients": self.gradients * self.keeps_gradients,
            "optimizer": self.states * self.keeps_states,
        }


class Batch(NamedTuple):
    """Tokens of a micro-batch on one GPU, at most.

    Attributes:
        update: when the model is trained.
        forward: when log-probs or values are computed.
    """

    update: float
    forward: float
