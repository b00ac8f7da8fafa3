"""Types, checks, mapped axes, the ascent step and sums over pytrees that the blocks share."""
