"""`make bench`: ratios measured in one run of one process, printed as a table. Nothing here is a test: no figure fails a build."""
