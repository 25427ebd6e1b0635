"""The checker that jaxtyping applies to every function of the package while tests run."""

from beartype import BeartypeConf, beartype

# As in Python's own rules (PEP 484), an int is good where a float is asked for: alpha(2), beta=0.
strict = beartype(conf=BeartypeConf(is_pep484_tower=True))
