"""A pipeline looked at without weights: what it computes, what that costs, a drawing."""
