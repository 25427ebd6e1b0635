"""Token-wise f-divergences of the policy from the reference, as data.

A divergence is the named tuple `Generator` of two functions of δ = log π_θ − log π_ref; `catalogue` holds those that
can be chosen by name.
"""

from frpo_verl.divergences.catalogue import BY_NAME as BY_NAME
from frpo_verl.divergences.catalogue import REVERSE_KL as REVERSE_KL
from frpo_verl.divergences.catalogue import UnknownDivergence as UnknownDivergence
from frpo_verl.divergences.catalogue import by_name as by_name
from frpo_verl.divergences.generator import Generator as Generator
