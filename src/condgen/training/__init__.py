"""The training loop, its state, and what makes it fast."""
