"""Networks from and to the formats of other projects."""
