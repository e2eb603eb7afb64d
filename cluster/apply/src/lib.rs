//! Ordered server-side apply, inventory, pruning and waiting.
