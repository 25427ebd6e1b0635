"""The study of FRPO and its baselines on a CPU: task, model, runs and tables of `recipes/study_cpu.sh`."""
