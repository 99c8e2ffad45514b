"""Chapter 4: consensus: how replicas agree, what it costs, and who votes."""
