"""Defines token-wise f-divergences of the policy from the reference, as data.

A divergence is the named tuple `Generator` of two functions of δ = log π_θ − log π_ref; `catalogue` holds those that
can be chosen by name, `forms` turns one into another, and `from_f` makes a new one.
"""

from frpo_verl.divergences.catalogue import CATALOGUE as CATALOGUE
from frpo_verl.divergences.catalogue import REVERSE_KL as REVERSE_KL
from frpo_verl.divergences.catalogue import alpha as alpha
from frpo_verl.divergences.forms import appendix_e as appendix_e
from frpo_verl.divergences.forms import token_clip as token_clip
from frpo_verl.divergences.generator import Generator as Generator
from frpo_verl.divergences.generator import from_f as from_f
from frpo_verl.divergences.names import BY_NAME as BY_NAME
from frpo_verl.divergences.names import UnknownDivergence as UnknownDivergence
from frpo_verl.divergences.names import by_name as by_name
