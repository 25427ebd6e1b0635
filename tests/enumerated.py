"""Numbers of the enumerated policy that the README shows; `advantage/test_frpo.py` computes and compares them.

The policy is `oracles.tiny_policy(1)`, three tokens and at most three steps, its reference `tiny_policy(2)`. An error
is ‖estimate − exact‖ / ‖exact‖ of the regulariser's expected gradient, exact being autograd of E Σ f(u).
"""

LOSS_SIDE_ERROR = {
    "reverse KL (k1)": 1.0000,
    "reverse KL (k3)": 0.4097,
    "squared log-ratio (k2)": 0.3347,
    "forward KL": 1.6116,
    "forward KL (k3)": 0.6028,
    "Jeffreys": 0.5128,
    "Jensen-Shannon": 0.5613,
    "squared Hellinger": 0.5376,
    "Pearson χ²": 0.5307,
    "Neyman χ²": 0.3089,
    "total variation": 0.6534,
}
"""Of a penalty in the loss (Proposition 4.3), by divergence."""

VARIANT_ERROR = {
    "appendix E, inclusive sum of f": (0.0, 1.0927),
    "discount 0.9": (0.0444, 0.0444),
    "horizon 1": (0.1413, 0.1413),
    "horizon 0 (local part only)": (0.3188, 0.3188),
    "PRL, value at step end, steps of 2": (0.3695, 0.3695),
    "value at step start, steps of 2": (0.0, 0.3846),
    "divided by length": (0.4356, 0.4184),
}
"""Of the variants of the return-to-go, with k1 and with k3; 0 means exact, to 1e-10."""

LENGTH_BASELINE_ERROR = (0.4015, 0.3599)
"""Of a return-to-go less (T − t)·mean f, in batches of two responses, with k1 and with k3."""

DIVIDED_ERROR = {2: (0.1555, 0.0525), 4: (0.3667, 0.1513), 6: (0.4973, 0.2341), 16: (0.7479, 0.4465)}
"""Of a return-to-go of k1 that is divided by |λ|, by group size; and of the same, scaled as fits best."""
