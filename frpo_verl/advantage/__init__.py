"""Advantages: group statistics, the return-to-go of a divergence, and FRPO as their composition."""

from frpo_verl.advantage.frpo import frpo_advantage as frpo_advantage
from frpo_verl.advantage.future import return_to_go as return_to_go
from frpo_verl.advantage.groups import normalise_by_group as normalise_by_group
