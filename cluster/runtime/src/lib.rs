//! What every controller stands on: conditions, events, finalizers, requeue, metrics, shutdown, ports.
