"""SAMformer on ETTh1 and ETTh2: what SAM is worth next to a control that is tuned as well."""
