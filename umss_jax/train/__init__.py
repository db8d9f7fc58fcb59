"""Training: strategies, losses, the step, the loop, runs on disk."""
