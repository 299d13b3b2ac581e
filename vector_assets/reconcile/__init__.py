"""The one idea, apart from what any stage does: compare desired with observed rows, compute the difference, publish it safely."""
