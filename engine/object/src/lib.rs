//! Kubernetes objects as data: identity, YAML as Go reads and writes it, order, normal form.
