"""vLLM's worker raises while it loads the weights of the second sync."""

import wrapt
from raising import fail


def _patch(utils) -> None:
    extension, host, calls = utils.vLLMColocateWorkerExtension, utils.vLLMColocateWorkerExtension._update_weights, []

    def _update_weights(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == 2:
            fail("injected: the weights do not fit")
        return host(self, *args, **kwargs)

    extension._update_weights = _update_weights


wrapt.register_post_import_hook(_patch, "verl.workers.rollout.vllm_rollout.utils")
