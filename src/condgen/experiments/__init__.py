"""Many runs: recipes and the ladder, and finished runs pooled over seeds and compared."""
