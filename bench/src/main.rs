//! Benchmarks that print the floor of the same run beside our figure.

fn main() {}
