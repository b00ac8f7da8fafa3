"""The laws of the methods, measured: training at the edge of stability, and the bounce."""
