"""Chapter 3: layered scaling, from shards to channels, rollups and bridges."""
