"""Models and cells in the formats of other programs, and regions that were drawn there."""
