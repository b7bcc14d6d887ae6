"""The networks: what they are, what they minimise, how they draw."""
