//! Reconciles fleet objects: from a template and a placement to desired state per cluster, and health back.
