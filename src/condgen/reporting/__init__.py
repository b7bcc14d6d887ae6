"""Numbers and images -> figures and the report."""
