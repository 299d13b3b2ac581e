"""Embedding models: the registry is the only place that names one."""
