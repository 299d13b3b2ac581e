"""What Dagster sees: one concept per file, bodies thin, nothing here that a stage needs to know.

build.py puts the code location together; assets.py, asset_checks.py, jobs.py, partitions.py, resources.py and sensors.py hold what their
names say, and freshness.py and notifications.py what sensors do beside finding tables.
steps.py is what a step does; failures.py, metadata.py, pin.py, run_tags.py and turn.py are its parts. instance.py and run.py are for
whoever runs Dagster in a process of their own, as the command line does.
"""
