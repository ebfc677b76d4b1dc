"""When a job runs: the engine, its queue, and fail-over."""
