"""Entity windows in Redis: `EntityState`, shared by all workers, each event counted once, rebuilt from history."""
