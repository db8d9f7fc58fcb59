"""The networks of every stage, and which of them given weights are of."""
