"""Redis: shards, pipelined connections, circuit breaker, key names, queues and Lua scripts."""
