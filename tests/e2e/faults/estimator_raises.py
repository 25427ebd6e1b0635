"""A user's estimator, `raises`, that does."""

import wrapt
from raising import fail


def _register(core_algos) -> None:
    @core_algos.register_adv_est("raises")
    def raises(token_level_rewards, response_mask, **rest):
        fail("injected: the estimator failed")


wrapt.register_post_import_hook(_register, "verl.trainer.ppo.core_algos")
