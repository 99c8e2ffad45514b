"""Chapter 1: what scalability measures, and the laws that bound it."""
