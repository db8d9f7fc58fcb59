"""Synthetic quartets: scores, performances, renderings."""
