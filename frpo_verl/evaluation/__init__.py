"""What a run learned: the unbiased pass@k (`pass_at_k`), reading of the logs and validation dumps that verl writes
(`run_log`), and a table and figure of one run before and after training (`report`, also `python -m
frpo_verl.evaluation.report RUN_DIR`). Nothing here imports verl or torch; matplotlib is loaded only to draw.
"""
