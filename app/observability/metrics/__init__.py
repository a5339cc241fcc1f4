"""What one process measures: histograms and counters by bounded labels, as Prometheus text."""
