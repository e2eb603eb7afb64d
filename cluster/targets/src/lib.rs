//! Clients for any cluster: kubeconfigs made safe, impersonation, discovery, shared watches.
