//! Real control planes, git servers and processes for tests and the demo; none is ever left behind.
