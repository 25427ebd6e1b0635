"""Advantages: group statistics, the return-to-go of a divergence, and FRPO as their composition.

`frpo_advantage` is the whole. Its variants are made by passing functions (`later`, `outcome`, another generator) or by
writing the composition out: `return_to_go`, then an adjustment, then `regularise`.
"""

from frpo_verl.advantage.adjustments import centre_in_group as centre_in_group
from frpo_verl.advantage.adjustments import divide_by_length as divide_by_length
from frpo_verl.advantage.adjustments import minus_length_baseline as minus_length_baseline
from frpo_verl.advantage.baseline import Fit as Fit
from frpo_verl.advantage.baseline import at_position as at_position
from frpo_verl.advantage.baseline import fitted_elsewhere as fitted_elsewhere
from frpo_verl.advantage.baseline import no_moments as no_moments
from frpo_verl.advantage.baseline import remembered as remembered
from frpo_verl.advantage.baseline import subtract_baseline as subtract_baseline
from frpo_verl.advantage.batch import RegularisedBatch as RegularisedBatch
from frpo_verl.advantage.batch import regularise_batch as regularise_batch
from frpo_verl.advantage.diagnostics import Diagnostics as Diagnostics
from frpo_verl.advantage.diagnostics import diagnose as diagnose
from frpo_verl.advantage.frpo import frpo_advantage as frpo_advantage
from frpo_verl.advantage.frpo import regularise as regularise
from frpo_verl.advantage.future import return_to_go as return_to_go
from frpo_verl.advantage.groups import centre_by_group as centre_by_group
from frpo_verl.advantage.groups import drop_score as drop_score
from frpo_verl.advantage.groups import keep_score as keep_score
from frpo_verl.advantage.groups import normalise_by_group as normalise_by_group
from frpo_verl.advantage.groups import normalise_by_group_population as normalise_by_group_population
from frpo_verl.advantage.groups import number_groups as number_groups
from frpo_verl.advantage.later import discounted as discounted
from frpo_verl.advantage.later import undiscounted as undiscounted
from frpo_verl.advantage.later import within as within
from frpo_verl.advantage.process_sets import ProcessSets as ProcessSets
from frpo_verl.advantage.process_sets import count_process_sets as count_process_sets
from frpo_verl.advantage.process_sets import process_set_sizes as process_set_sizes
from frpo_verl.advantage.shuffled import shuffle_tokens as shuffle_tokens
from frpo_verl.advantage.stale import traced_return_to_go as traced_return_to_go
from frpo_verl.advantage.steps import ends_by_length as ends_by_length
from frpo_verl.advantage.steps import ends_by_separator as ends_by_separator
from frpo_verl.advantage.steps import value_at_step_end as value_at_step_end
from frpo_verl.advantage.steps import value_at_step_start as value_at_step_start
from frpo_verl.advantage.sums import Sums as Sums
from frpo_verl.advantage.sums import sample_slots as sample_slots
from frpo_verl.advantage.token_weights import TreeFigures as TreeFigures
from frpo_verl.advantage.token_weights import describe_sets as describe_sets
from frpo_verl.advantage.token_weights import lambda_grpo as lambda_grpo
from frpo_verl.advantage.token_weights import lambda_grpo_mean_one as lambda_grpo_mean_one
from frpo_verl.advantage.token_weights import uniform_mean as uniform_mean
from frpo_verl.advantage.variant import Variant as Variant
from frpo_verl.advantage.variant import divergence_to_go as divergence_to_go
from frpo_verl.advantage.variant import formed as formed
