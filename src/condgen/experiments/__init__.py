"""Many runs: pooled over seeds and compared."""
