"""Chapter 5: the network: who is connected to whom, how a message spreads, and which way it takes."""
