//! Artifacts: ignore rules, reproducible tarballs, manifests of files and chunks, digests.
