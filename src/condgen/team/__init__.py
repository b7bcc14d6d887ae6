"""What a team shares: can it be used from this machine (`doctor`), and what in it is old (`prune`)?"""
