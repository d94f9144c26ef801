"""What the processes share and no business: settings, shards, keys, events, tokens, errors, stores."""
