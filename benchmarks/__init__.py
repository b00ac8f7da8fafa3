"""What a sharpness-aware step costs, measured on the machine at hand: see docs/performance.md."""
