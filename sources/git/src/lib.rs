//! Git remotes read with gix: references, shallow fetches into a shared object store, trees as files.
